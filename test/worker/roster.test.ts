/** Sharing locations among workers: pausing, taking over, giving back. The database is real; leases run out by SQL. */
import { randomUUID } from 'node:crypto';
import pino from 'pino';
import * as assert from 'uvu/assert';
import { Workers } from '../../lib/metadata/workers.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { Roster } from '../../worker/replicate/roster.js';
import { freshMetadata, type Metadata, openMetadata } from '../support/clients.js';
import { DatabaseProxy } from '../support/database-proxy.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: roster');
const ALL = ['usstorage', 'eustorage'];
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});
test.before.each(async () => {
  await m.db.query('delete from worker');
});

interface Settings {
  readonly patienceMs?: number;
  readonly metadata?: Metadata;
  readonly beatMs?: number;
}
interface Enrolled extends AsyncDisposable {
  readonly roster: Roster;
  readonly id: string;
  /** Messages of the levels warn and info. */
  readonly lines: string[];
}
function enrol(
  locations: readonly string[],
  { patienceMs = 0, metadata = m, ...settings }: Settings = { beatMs: 100 },
): Enrolled {
  const lines: string[] = [];
  const log = pino({}, { write: line => void lines.push(`${JSON.parse(line).level} ${JSON.parse(line).msg}`) });
  const id = randomUUID();
  const self = { id, address: 'here:7090', locations, knows: ALL };
  const roster = new Roster({
    ...{
      workers: new Workers(metadata.db),
      self,
      onChange: () => {},
      metrics: new WorkerMetrics('worker', 'test'),
      log,
      patienceMs,
    },
    ...settings,
  });
  return { roster, id, lines, [Symbol.asyncDispose]: () => roster.close() };
}
const names = ({ roster }: Enrolled) => roster.targets.map(target => target.name).sort();

test("a location that is paused is nobody's target, until it is resumed", async () => {
  await using one = enrol(ALL);
  const workers = new Workers(m.db);
  assert.ok(await until(() => names(one).join() === 'eustorage,usstorage', 20_000));
  await workers.setPaused('eustorage', true);
  assert.ok(await until(() => names(one).join() === 'usstorage' && one.roster.paused.join() === 'eustorage', 20_000));
  await workers.setPaused('eustorage', false);
  assert.ok(await until(() => names(one).join() === 'eustorage,usstorage' && one.roster.paused.length === 0, 20_000));
  assert.equal(one.lines, ['30 copying to this location is paused', '30 copying to this location goes on']);
});

test('a location without a living worker is taken over, reported once, and given back', async () => {
  const eu = enrol(['eustorage']);
  assert.ok(await until(() => names(eu).includes('eustorage'), 10_000));
  await using us = enrol(['usstorage']);
  assert.ok(await until(() => names(us).join() === 'usstorage', 10_000));
  await eu.roster.close();
  await m.db.query('update worker set lease_until = now() where id = $1', [eu.id]);
  assert.ok(await until(() => names(us).length === 2, 10_000));
  await using back = enrol(['eustorage']);
  assert.ok(await until(() => names(us).length === 1, 10_000));
  assert.equal(names(back), ['eustorage']);
  assert.equal(
    us.lines.map(line => line.slice(0, 12)),
    ['40 no worker', '30 a worker '],
  );
});

test('a worker that has just started, or cannot reach the database, changes nothing in a hurry', async () => {
  const proxy = new DatabaseProxy();
  await using us = enrol(['usstorage'], {
    beatMs: 100,
    patienceMs: 60_000,
    metadata: openMetadata(await proxy.through(m.url)),
  });
  assert.ok(await until(() => names(us).length > 0, 10_000));
  proxy.cut();
  assert.ok(await until(() => us.lines.length > 0, 10_000));
  assert.equal(names(us), ['usstorage']);
  assert.match(us.lines[0] ?? '', /^40 cannot tell/);
});

test.run();
