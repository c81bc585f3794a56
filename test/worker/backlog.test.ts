/** What is missing, and for how long, as a worker's metrics tell it; and how long copies took. The database is real. */
import * as assert from 'uvu/assert';
import { Locations } from '../../lib/locations/locations.js';
import type { Job } from '../../lib/metadata/replication.js';
import type { Digest } from '../../lib/oci/digest.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { BacklogMetrics } from '../../worker/replicate/backlog.js';
import { Leases } from '../../worker/replicate/leases.js';
import { Outcomes } from '../../worker/replicate/outcomes.js';
import { claimAll } from '../support/claims.js';
import { freshMetadata, type Metadata, openMetadata, quiet } from '../support/clients.js';
import { DatabaseProxy } from '../support/database-proxy.js';
import { copied, emptied, newDigest, newRepository, pushed, repository, traceId } from '../support/rows.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: what is missing');
const MiB = 1024 * 1024;
const OLDEST = 'entrepot_replication_oldest_missing_seconds';
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});
test.before.each(() => emptied(m));

/** A metric's values as they would be served now, by location. */
async function asked(name: string): Promise<Record<string, number>> {
  const metrics = new WorkerMetrics('worker', 'test');
  await new BacklogMetrics(m.db, metrics).refresh();
  return valuesOf(metrics, name);
}
async function valuesOf(metrics: WorkerMetrics, name: string): Promise<Record<string, number>> {
  const { values = [] } = (await metrics.registry.getSingleMetric(name)?.get()) ?? {};
  return Object.fromEntries(values.map(({ labels, value }) => [String(labels.location), value]));
}
const oldest = async () => (await asked(OLDEST)).eustorage ?? Number.NaN;

/** A copy became necessary so long ago. */
async function since(digest: Digest, seconds: number): Promise<void> {
  await m.db.query(
    `update replication set created_at = now() - $2 * interval '1 second'
      where storage_id = (select id from imagestorage where content_checksum = $1)`,
    [digest, seconds],
  );
}
function assertAbout(seconds: number, wanted: number): void {
  assert.ok(seconds >= wanted && seconds < wanted + 60, `${seconds} seconds, and not ${wanted}`);
}

test('the age of the oldest missing blob grows, is that of the next one when it is there, and 0 when none is missing', async () => {
  assert.equal(await asked(OLDEST), { eustorage: 0, usstorage: 0 });
  const first = await pushed(m, newRepository());
  const begun = await oldest();
  assert.ok(begun >= 0 && begun < 60, `${begun} seconds`);
  const later = await oldest();
  assert.ok(later > begun, `${begun}, then ${later} seconds`);

  const [middle, last] = [await pushed(m, newRepository()), await pushed(m, newRepository())];
  // The oldest is neither the first nor the last that was queued.
  for (const [digest, seconds] of [
    [first, 500],
    [middle, 9_000],
    [last, 70],
  ] as const)
    await since(digest, seconds);
  assertAbout(await oldest(), 9_000);
  assert.is((await asked(OLDEST)).usstorage, 0, 'what is missing in eu is no matter of us');
  await copied(m, 'eustorage', [middle]);
  assertAbout(await oldest(), 500);
  await copied(m, 'eustorage', [first]);
  assertAbout(await oldest(), 70);
  await copied(m, 'eustorage', [last]);
  assert.equal(await asked(OLDEST), { eustorage: 0, usstorage: 0 });
});

test('tries that fail, claims and postponing do not make it younger', async () => {
  const digest = await pushed(m, newRepository());
  await since(digest, 5_000);
  const [job] = await claimAll(m.replication, 'eustorage');
  assertAbout(await oldest(), 5_000);
  if (job) await m.replication.postpone(job, 300_000, 'eu is away');
  assertAbout(await oldest(), 5_000);
  await pushed(m, newRepository(), 'usstorage', digest);
  assertAbout(await oldest(), 5_000);
});

test('what is missing is counted, with its bytes', async () => {
  await m.blobs.record({ repository: repository('team/app'), digest: newDigest(), size: 5 * MiB, ...us });
  const small = await pushed(m, newRepository());
  const counts = async () => [
    (await asked('entrepot_replication_missing_blobs')).eustorage,
    (await asked('entrepot_replication_missing_bytes')).eustorage,
  ];
  assert.equal(await counts(), [2, 5 * MiB + 7]);
  await copied(m, 'eustorage', [small]);
  assert.equal(await counts(), [1, 5 * MiB]);
});
const us = { location: 'usstorage', traceId };

test('while the database cannot be asked there is no age, rather than an old one', async () => {
  const proxy = new DatabaseProxy();
  const far = openMetadata(await proxy.through(m.url));
  const metrics = new WorkerMetrics('worker', 'test');
  await pushed(m, newRepository());
  await new BacklogMetrics(far.db, metrics).refresh();
  assert.equal(Object.keys(await valuesOf(metrics, OLDEST)).sort(), ['eustorage', 'usstorage']);
  proxy.cut();
  const failure = await new BacklogMetrics(far.db, metrics).refresh().catch((error: Error) => error);
  assert.instance(failure, Error);
  assert.equal(await valuesOf(metrics, OLDEST), {});
});

/** Has a worker record that these copies are done; answers its metrics. */
async function recorded(jobs: readonly Job[]): Promise<WorkerMetrics> {
  const metrics = new WorkerMetrics('worker', 'test');
  const log = quiet;
  const leases = new Leases(m.replication, log);
  const locations = new Locations({ locations: [], preference: [], identify: async () => true, log });
  const ending = new AbortController().signal;
  try {
    const outcomes = new Outcomes({ replication: m.replication, locations, leases, metrics, log, ending });
    await outcomes.record(jobs.map(job => ({ job: leases.hold(job), error: undefined, damaged: [] })));
  } finally {
    leases.close();
  }
  return metrics;
}

test('the lag runs from when a copy became necessary to its record, by pair of locations and class of size', async () => {
  const classes = [
    { size: 0, name: 'small', seconds: 20 },
    { size: MiB, name: 'small', seconds: 50 },
    { size: MiB + 1, name: 'medium', seconds: 200 },
    { size: 100 * MiB, name: 'medium', seconds: 900 },
    { size: 100 * MiB + 1, name: 'large', seconds: 2_000 },
  ];
  for (const { size, seconds } of classes) {
    const digest = newDigest();
    await m.blobs.record({ repository: repository('team/app'), digest, size, ...us });
    await since(digest, seconds);
  }
  const jobs = await claimAll(m.replication, 'eustorage');
  assert.is(jobs.length, classes.length);
  const text = await (await recorded(jobs)).registry.metrics();
  const value = (what: string, size: string, le = '') => {
    const labels = `${le}source="usstorage",target="eustorage",size="${size}"`;
    const line = text.split('\n').find(each => each.startsWith(`entrepot_replication_lag_seconds_${what}{${labels}} `));
    return Number(line?.split(' ').at(-1) ?? Number.NaN);
  };
  assert.equal([value('count', 'small'), value('count', 'medium'), value('count', 'large')], [2, 2, 1]);
  assertAbout(value('sum', 'small'), 70);
  assertAbout(value('sum', 'medium'), 1_100);
  assertAbout(value('sum', 'large'), 2_000);
  assert.equal([value('bucket', 'medium', 'le="120",'), value('bucket', 'medium', 'le="600",')], [0, 1]);
  assert.equal([value('bucket', 'large', 'le="1800",'), value('bucket', 'large', 'le="3600",')], [0, 1]);
});

test('while a copy is made, what has become safe of it counts, and what was safe before does not count again', async () => {
  const digest = await pushed(m, newRepository());
  const claim = async () => (await claimAll(m.replication, 'eustorage')).find(job => job.digest === digest);
  const kept = async (job: Job, offset: number, anew: boolean) =>
    assert.ok(await m.replication.checkpoint(job, { offset, session: Buffer.from('session') }, anew));
  const first = await claim();
  assert.ok(first);
  await kept(first, 100, true);
  await m.replication.postpone(first, 0, 'another worker takes it');
  const second = await claim();
  assert.ok(second);

  const heard: [target: string, bytes: number][] = [];
  const onProgress = (target: string, bytes: number) => void heard.push([target, bytes]);
  const leases = new Leases(m.replication, quiet, { onProgress, renewMs: 20 });
  const isHeard = async (...wanted: readonly number[]) => {
    await until(() => heard.length >= wanted.length, 20_000);
    assert.equal(
      heard,
      wanted.map(bytes => ['eustorage', bytes]),
    );
  };
  try {
    leases.hold(second);
    await isHeard(0);
    await kept(second, 140, false);
    await isHeard(0, 40);
    // Its upload is lost, and it begins anew: what comes then is on its way for the second time, and gets on all the same.
    await kept(second, 0, true);
    const heldUntil = async () => {
      const [row] = await m.db.query('select next_attempt_at::text as at from replication where id = $1', [second.id]);
      return row?.at;
    };
    const before = await heldUntil();
    assert.ok(await until(async () => (await heldUntil()) !== before, 20_000), 'the claim is not renewed');
    await kept(second, 60, false);
    await isHeard(0, 40, 60);
  } finally {
    leases.close();
  }
});

test('a copy that is no longer this worker’s to record counts nothing', async () => {
  await pushed(m, newRepository());
  const [job] = await claimAll(m.replication, 'eustorage');
  if (!job) throw new Error('nothing is due');
  await m.replication.giveBack([job]);
  await claimAll(m.replication, 'eustorage');
  assert.not.match(await (await recorded([job])).registry.metrics(), /entrepot_replication_lag_seconds_count\{/);
});

test.run();
