/**
 * The limits of copying to a location: each worker takes its part of what the database says with every beat, and beats
 * often enough. Nothing is timed but the shortest time between two beats, which a crowded machine only makes longer.
 */
import { randomUUID } from 'node:crypto';
import pino from 'pino';
import * as assert from 'uvu/assert';
import { type Limits, type WorkerRow, Workers } from '../../lib/metadata/workers.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { Roster, type Target } from '../../worker/replicate/roster.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: limits');
const NONE: Limits = { concurrency: undefined, bytesPerSecond: undefined };
let m: Metadata;
let settings: Workers;

test.before(async () => {
  m = await freshMetadata();
  settings = new Workers(m.db);
});
test.before.each(async () => {
  await m.db.query('delete from worker');
  await m.db.query('delete from locationlimit');
});

interface Beat {
  readonly at: number;
  /** What was in force when it began: what the one before has left. */
  readonly part: string;
}

/** Notes each beat when it begins. */
class Beating extends Workers {
  readonly beats: Beat[] = [];
  look: () => string = () => '';

  override async announce(worker: WorkerRow): Promise<void> {
    this.beats.push({ at: performance.now(), part: this.look() });
    await super.announce(worker);
  }
}

interface Enrolled extends AsyncDisposable {
  readonly roster: Roster;
  readonly beats: readonly Beat[];
  /** What it has logged of limits, and of nothing else. */
  readonly told: Record<string, unknown>[];
}
/** A worker of eu; `beatMs` as it is by itself if absent. */
function enrol(more: { beatMs?: number }): Enrolled {
  const workers = new Beating(m.db);
  const told: Record<string, unknown>[] = [];
  const log = pino({ base: null, timestamp: false }, { write: line => void told.push(JSON.parse(line)) });
  const roster = new Roster({
    ...{ workers, onChange: () => {}, metrics: new WorkerMetrics('worker', 'test'), log, patienceMs: 0 },
    self: { id: randomUUID(), address: 'here:7090', locations: ['eustorage'], knows: ['eustorage'] },
    ...more,
  });
  workers.look = () => partOf(roster);
  return { roster, beats: workers.beats, told, [Symbol.asyncDispose]: () => roster.close() };
}
const FAST = { beatMs: 20 };
function target(roster: Roster): Target | undefined {
  return roster.targets.find(({ name }) => name === 'eustorage');
}
/** What it may take: copies at a time, and bytes per second. */
function partOf(roster: Roster): string {
  const its = target(roster);
  return `${its?.slots} ${its?.throttle.limit}`;
}
/** What each may take after the next beat that it begins, neither sooner nor later. */
async function afterOneBeat(...all: readonly Enrolled[]): Promise<string[]> {
  const before = all.map(({ beats }) => beats.length);
  const parts = () => all.map(({ beats }, index) => beats[(before[index] ?? 0) + 1]?.part);
  assert.ok(await until(() => !parts().includes(undefined), 20_000), 'the workers do not beat');
  return parts().map(String).sort();
}

test('every beat takes the limits that are in the database, on every worker, which share them out whole', async () => {
  await using one = enrol(FAST);
  await using two = enrol(FAST);
  await afterOneBeat(one, two);
  assert.equal(await afterOneBeat(one, two), ['undefined undefined', 'undefined undefined']);
  for (const [limits, wanted] of [
    [{ concurrency: 3, bytesPerSecond: 1_000 }, ['1 500', '2 500']],
    [{ concurrency: 1, bytesPerSecond: 3_000 }, ['0 1500', '1 1500']],
    [{ concurrency: undefined, bytesPerSecond: 50 }, ['undefined 25', 'undefined 25']],
    [NONE, ['undefined undefined', 'undefined undefined']],
    [{ concurrency: 8, bytesPerSecond: undefined }, ['4 undefined', '4 undefined']],
  ] as const) {
    await settings.setLimits('eustorage', limits);
    assert.equal(await afterOneBeat(one, two), wanted);
  }
});

test('a worker that comes or goes changes the parts of the others with their next beat', async () => {
  await settings.setLimits('eustorage', { concurrency: 4, bytesPerSecond: 1_000 });
  await using one = enrol(FAST);
  assert.equal(await afterOneBeat(one), ['4 1000']);
  {
    await using two = enrol(FAST);
    await afterOneBeat(two);
    assert.equal(await afterOneBeat(one, two), ['2 500', '2 500']);
  }
  assert.equal(await afterOneBeat(one), ['4 1000']);
});

test('left alone, a worker beats so often that a limit is in force within 5 seconds', async () => {
  await using one = enrol({});
  const shortest = () => Math.min(...one.beats.slice(1).map(({ at }, index) => at - (one.beats[index]?.at ?? 0)));
  assert.ok(await until(() => shortest() < 4_000, 25_000), `${shortest()} ms from one beat to the next`);
});

test('a limit is in force for copies that run, too: they keep what they wait at', async () => {
  await using one = enrol(FAST);
  await afterOneBeat(one);
  const throttle = target(one.roster)?.throttle;
  assert.ok(throttle);
  for (const bytesPerSecond of [1_000, 2_000, undefined, 3_000]) {
    await settings.setLimits('eustorage', { concurrency: undefined, bytesPerSecond });
    await afterOneBeat(one);
    assert.is(target(one.roster)?.throttle, throttle);
    assert.is(throttle?.limit, bytesPerSecond);
  }
});

test('they are kept over restarts: before a worker copies anything, it has its part', async () => {
  await settings.setLimits('eustorage', { concurrency: 2, bytesPerSecond: 7_000 });
  for (let start = 0; start < 3; start++) {
    await using one = enrol(FAST);
    assert.equal(one.roster.targets, [], 'nothing is copied before the database was asked');
    let first = '';
    const hasTarget = () => {
      first = partOf(one.roster);
      return one.roster.targets.length > 0;
    };
    assert.ok(await until(hasTarget, 20_000));
    assert.is(first, '2 7000');
  }
});

test('a worker says once when its part has changed', async () => {
  await using one = enrol(FAST);
  await afterOneBeat(one);
  assert.equal(one.told, []);
  await settings.setLimits('eustorage', { concurrency: 5, bytesPerSecond: 9_000 });
  for (let more = 0; more < 3; more++) await afterOneBeat(one);
  await settings.setLimits('eustorage', NONE);
  for (let more = 0; more < 3; more++) await afterOneBeat(one);
  assert.equal(one.told, [
    {
      ...{ level: 30, location: 'eustorage', copies: 5, bytesPerSecond: 9_000 },
      msg: 'copying to this location is limited: this is the part of this worker',
    },
    { level: 30, location: 'eustorage', msg: 'copying to this location has no limit any more' },
  ]);
});

test.run();
