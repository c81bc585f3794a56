/** Blobs that stand in their target unverified: they are hashed there, many at a time, and recorded together. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Locations } from '../../lib/locations/locations.js';
import { Adoption } from '../../lib/metadata/adoption.js';
import { digestOf } from '../../lib/oci/digest.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { Crossings } from '../../worker/crossing/crossings.js';
import { Copies } from '../../worker/replicate/copies.js';
import { Leases } from '../../worker/replicate/leases.js';
import { Outcomes } from '../../worker/replicate/outcomes.js';
import { Throttle } from '../../worker/replicate/throttle.js';
import { claimAll } from '../support/claims.js';
import { freshMetadata, quiet } from '../support/clients.js';
import { newRepository } from '../support/rows.js';
import { startProxy } from '../support/storage-proxy.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('worker: standing blobs');
const BLOBS = 40;
const AT_A_TIME = 8;

test('small adopted blobs are hashed side by side, as many as may be, and recorded by one statement', async () => {
  const m = await freshMetadata();
  const { address } = await startProxy({ folder: await temporaryFolder('store') });
  const locations = new Locations({
    locations: [{ name: 'usstorage', nodes: [address] }],
    preference: ['usstorage'],
    identify: async () => true,
    log: quiet,
  });
  atEnd(() => locations.close());
  const store = locations.get('usstorage')?.store;
  if (!store) throw new Error('no store');
  const blobs = Array.from({ length: BLOBS }, () => randomBytes(20)).map(data => ({ digest: digestOf(data), data }));
  await store.writeBatch(blobs);
  const objects = blobs.map(({ digest, data }) => ({ digest, size: data.length }));
  await new Adoption(m.db).adopt('usstorage', objects, false);
  for (const { digest } of blobs) {
    const [from, repository] = [newRepository(), newRepository()];
    await m.db.query(
      `insert into uploadedblob (repository_id, blob_id, expires_at)
       select repository_id(split_part($1, '/', 1), split_part($1, '/', 2)), id, now() + interval '1 day'
         from imagestorage where content_checksum = $2`,
      [from, digest],
    );
    await m.blobs.mount({ repository, digest, from, traceId: '' });
  }

  let running = 0;
  let most = 0;
  const verify = store.verify.bind(store);
  store.verify = async (...asked) => {
    most = Math.max(most, ++running);
    // None ends before as many have begun as may run at a time; those that came too late for that go through.
    for (let round = 0; most < AT_A_TIME && round < 40; round++) await sleep(25);
    return verify(...asked).finally(() => running--);
  };
  let recorded = 0;
  const complete = m.replication.complete.bind(m.replication);
  m.replication.complete = async (...asked) => {
    recorded++;
    return complete(...asked);
  };

  const leases = new Leases(m.replication, quiet);
  atEnd(() => leases.close());
  const crossings = new Crossings();
  atEnd(() => crossings.close());
  const ending = new AbortController().signal;
  const common = { replication: m.replication, locations, ending };
  const metrics = new WorkerMetrics('worker', 'test');
  const outcomes = new Outcomes({ ...common, leases, metrics, log: quiet });
  const copies = new Copies({ ...common, outcomes, crossings, throttleOf: () => new Throttle() });
  const jobs = (await claimAll(m.replication, 'usstorage')).map(job => leases.hold(job));
  assert.is(jobs.length, BLOBS);
  await copies.batch(jobs);

  assert.is(most, AT_A_TIME);
  assert.is(recorded, 1);
  const left = await m.db.query(
    `select 1 from imagestorageplacement where verified_at is null
     union all select 1 from replication r join imagestoragelocation l on l.id = r.location_id where l.name = 'usstorage'`,
  );
  assert.equal(left, []);
});

test.run();
