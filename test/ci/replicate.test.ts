/** Replication between real storage-proxies by real workers, through kills, damage and outages. */
import { randomBytes, randomUUID } from 'node:crypto';
import { readdir, stat, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { Locations } from '../../lib/locations/locations.js';
import { Workers } from '../../lib/metadata/workers.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { parseRepository } from '../../lib/oci/name.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { Crossings } from '../../worker/crossing/crossings.js';
import { Replicator } from '../../worker/replicate/replicator.js';
import { Throttle } from '../../worker/replicate/throttle.js';
import { blobFile } from '../support/blob-file.js';
import { pieces } from '../support/bytes.js';
import { type Metadata, openLocations, openMetadata, quiet } from '../support/clients.js';
import { ociClient } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: replication', { timeoutMs: 60_000 });
const repository = parseRepository('team/app');
const traceId = 'c0ffee'.padEnd(32, '0');
let stack: Stack;
let metadata: Metadata;
let locations: Locations;

test.before(async () => {
  stack = await startStack({ parts: ['storage-proxy-us', 'storage-proxy-eu'] });
  metadata = openMetadata(stack.databaseUrl);
  await metadata.places.register(['usstorage', 'eustorage']);
  await metadata.places.setDefaults(['usstorage', 'eustorage'], true);
  locations = openLocations(stack);
});

/** Puts a blob into us, as a push would. */
async function pushed(bytes: Buffer): Promise<Digest> {
  const digest = digestOf(bytes);
  const store = locations.get('usstorage')?.store;
  if (!store || !repository) throw new Error('no us');
  const begun = await store.begin({ digest });
  const last = await store.append(begun.session, pieces(bytes, 65_536), () => {});
  await store.commit(last.session, digest);
  await metadata.blobs.record({ repository, digest, size: bytes.length, location: 'usstorage', traceId });
  return digest;
}
async function inEu(digest: Digest): Promise<Buffer> {
  const body = await locations.get('eustorage')?.store.read(digest, { offset: 0 });
  const got: Buffer[] = [];
  for await (const piece of body?.bytes ?? []) got.push(piece);
  return Buffer.concat(got);
}
function fileOf(location: string, digest: Digest): string {
  return blobFile(stack.storagePath(location), digest);
}
/** Waits until an upload in eu has some bytes, but is not finished. */
async function untilPartlyThere(): Promise<void> {
  const uploads = join(stack.storagePath('eustorage'), 'uploads');
  for (let round = 0; round < 5_000; round++) {
    const files = await readdir(uploads, { recursive: true }).catch(() => []);
    const sizes = await Promise.all(files.map(file => stat(join(uploads, file)).catch(() => undefined)));
    if (sizes.some(each => each?.isFile() && each.size > 4_000_000)) return;
    await sleep(2);
  }
  throw new Error('no upload began in eu');
}
const worker = 'worker-eu';

test('small and large blobs, an empty one too, arrive whole, with a verified placement', async () => {
  const blobs = [
    Buffer.alloc(0),
    randomBytes(1),
    ...Array.from({ length: 300 }, () => randomBytes(2_000)),
    randomBytes(1_048_577),
    randomBytes(20_000_000),
  ];
  const digests = await Promise.all(blobs.map(pushed));
  await stack.start(worker);
  await stack.replicated();
  for (const index of [0, 1, 2, 150, 302, 303]) assert.equal(await inEu(digests[index] as Digest), blobs[index]);
  assert.equal(await stack.blobsOf('eustorage'), [...digests].sort());
  const rows = await stack.sql('select 1 from imagestorageplacement where verified_at is null');
  assert.is(rows.length, 0);
});

test("the copy's log lines carry the trace id of the push", async () => {
  assert.match(stack.part(worker).log(), traceId);
});

test('a worker that waits is woken by NOTIFY, and need not poll to find what a gateway has queued', async () => {
  // It polls every 5 seconds. Once it might do so just after a push, but not each time: so many pushes, one after the
  // other, would take it (pushes - 1) * 5 seconds. Half of that is plenty for a crowded machine.
  const pushes = 7;
  const client = ociClient(stack.us);
  await stack.start('gateway-us');
  try {
    const begun = performance.now();
    for (let count = 0; count < pushes; count++) {
      await client.pushBlob('team/app', randomBytes(1_000));
      await stack.replicated();
      // By then it has found that there is nothing more, and waits.
      await sleep(200);
    }
    const seconds = (performance.now() - begun) / 1_000;
    assert.ok(seconds < ((pushes - 1) * 5) / 2, `${pushes} pushes were copied in ${seconds} s: it polled`);
  } finally {
    client.close();
    await stack.kill('gateway-us');
  }
});

test('a worker killed in the middle of a large copy: another goes on from its checkpoint', async () => {
  await stack.kill(worker);
  // Slow enough for a crowded machine to meet the copy, and the next one, in the middle.
  await new Workers(metadata.db).setLimits('eustorage', { concurrency: undefined, bytesPerSecond: 60_000_000 });
  const bytes = randomBytes(200_000_000);
  const digest = await pushed(bytes);
  await stack.start(worker);
  await untilPartlyThere();
  await stack.kill(worker);
  assert.is((await stack.sql('select 1 from replication')).length, 1, 'the copy was not finished yet');
  // The dead worker's claim runs out by itself; the test does not wait for that.
  await stack.sql('update replication set next_attempt_at = now()');
  await stack.start(worker);
  await stack.replicated(40_000);
  assert.is(digestOf(await inEu(digest)), digest);
});

test('the source killed in the middle, then the target: the copy arrives after they are back', async () => {
  const bytes = randomBytes(150_000_000);
  const digest = await pushed(bytes);
  for (const name of ['storage-proxy-us', 'storage-proxy-eu'] as const) {
    await untilPartlyThere();
    await stack.kill(name);
    await stack.start(name);
  }
  await stack.replicated(40_000);
  assert.is(digestOf(await inEu(digest)), digest);
});

test('a damaged source is never copied: the target refuses it, and the copy stays wanted', async () => {
  await stack.kill(worker);
  await new Workers(metadata.db).setLimits('eustorage', { concurrency: undefined, bytesPerSecond: undefined });
  const [small, large] = [await pushed(randomBytes(5_000)), await pushed(randomBytes(3_000_000))];
  await writeFile(fileOf('usstorage', small), randomBytes(5_000));
  await writeFile(fileOf('usstorage', large), randomBytes(3_000_000));
  const truncated = await pushed(randomBytes(2_000_000));
  await truncate(fileOf('usstorage', truncated), 1_500_000);
  await stack.start(worker);
  const failed = async () =>
    (
      await stack.sql(
        `select 1 from replication r join imagestoragelocation l on l.id = r.location_id
          where l.name = 'eustorage' and r.last_error is not null`,
      )
    ).length;
  assert.ok(await until(async () => (await failed()) === 3, 30_000));
  const there = await stack.blobsOf('eustorage');
  for (const digest of [small, large, truncated]) {
    assert.not(there.includes(digest));
    assert.equal((await metadata.blobs.find(repository ?? ('' as never), digest)).blob?.locations, ['usstorage']);
  }
  await stack.kill(worker);
  await stack.sql('delete from replication');
});

test('a blob that stands in the target without a placement is verified there, and not copied again', async () => {
  const digest = await pushed(randomBytes(4_000_000));
  await stack.start(worker);
  await stack.replicated();
  await stack.kill(worker);
  // As if the worker had died between the commit and the statement that records it. The source is gone: only what
  // stands in the target can make it succeed.
  await stack.sql(
    `delete from imagestorageplacement p using imagestoragelocation l, imagestorage s
    where l.id = p.location_id and s.id = p.storage_id and l.name = 'eustorage' and s.content_checksum = $1`,
    [digest],
  );
  await stack.sql(
    `insert into replication (storage_id, location_id) select s.id, l.id from imagestorage s, imagestoragelocation l
    where s.content_checksum = $1 and l.name = 'eustorage'`,
    [digest],
  );
  await unlink(fileOf('usstorage', digest));
  await stack.start(worker);
  await stack.replicated();
});

test('PostgreSQL connections cut while copying: nothing is lost', async () => {
  const digests = await Promise.all(Array.from({ length: 50 }, () => pushed(randomBytes(30_000))));
  await stack.sql(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  );
  await stack.replicated(50_000);
  const there = new Set(await stack.blobsOf('eustorage'));
  assert.ok(digests.every(digest => there.has(digest)));
});

test('SIGTERM gives the claims back at once, so that another worker need not wait for them to run out', async () => {
  const digest = await pushed(randomBytes(150_000_000));
  await untilPartlyThere();
  assert.is((await stack.part(worker).stop()).code, 0);
  const [row] = await stack.sql('select next_attempt_at <= now() as due from replication');
  if (row) assert.is(row.due, true);
  await stack.start(worker);
  await stack.replicated(40_000);
  assert.is(digestOf(await inEu(digest)), digest);
});

test('an upload that nobody goes on with is ended, and its bytes are freed', async () => {
  const store = locations.get('usstorage')?.store;
  if (!store || !repository) throw new Error('no us');
  const uploadsFolder = join(stack.storagePath('usstorage'), 'uploads');
  const before = (await readdir(uploadsFolder)).length;
  const [old, fresh] = [randomUUID(), randomUUID()];
  for (const uuid of [old, fresh]) {
    const begun = await store.begin({});
    const { session } = await store.append(begun.session, pieces(randomBytes(1_000), 65_536), () => {});
    await metadata.uploads.create({ repository, uuid, location: 'usstorage', session, algorithm: 'sha256' });
  }
  await stack.sql("update blobupload set updated_at = now() - interval '3 days' where uuid = $1", [old]);
  await stack.sql(
    `insert into blobupload (repository_id, uuid, location_id, session, algorithm, updated_at)
     select repository_id, gen_random_uuid(), location_id, '', algorithm, now() - interval '1 month'
       from blobupload, generate_series(1, 250) where uuid = $1`,
    [fresh],
  );
  assert.is((await readdir(uploadsFolder)).length, before + 2);
  await stack.part(worker).stop();
  await stack.start(worker);
  assert.ok(await until(async () => (await readdir(uploadsFolder)).length === before + 1, 20_000));
  assert.is(await metadata.uploads.find(repository, old), undefined);
  assert.ok(await metadata.uploads.find(repository, fresh));
  assert.is((await stack.sql('select 1 from blobupload')).length, 1);
});

test('no more batches of small blobs run at a time than there are slots, and those that wait are given back at the end', async () => {
  await stack.part(worker).stop();
  await Promise.all(Array.from({ length: 40 }, () => pushed(randomBytes(1_000_000))));
  const store = locations.get('eustorage')?.store;
  if (!store) throw new Error('no eu');
  const writeBatch = store.writeBatch.bind(store);
  let running = 0;
  let most = 0;
  store.writeBatch = async (...request) => {
    most = Math.max(most, ++running);
    await sleep(50);
    return writeBatch(...request).finally(() => running--);
  };
  const crossings = new Crossings();
  atEnd(() => crossings.close());
  const run = () =>
    new Replicator({
      ...{
        replication: metadata.replication,
        locations,
        concurrency: 2,
        crossings,
        metrics: new WorkerMetrics('worker', 'test'),
        log: quiet,
      },
      roster: { targets: [{ name: 'eustorage', slots: undefined, throttle: new Throttle() }], paused: [] },
    });
  const first = run();
  while (most === 0) await sleep(5);
  await first.stop();
  const [left] = await stack.sql(
    'select count(*)::int as n, bool_and(next_attempt_at <= now()) as due from replication',
  );
  assert.ok(Number(left?.n) > 20);
  assert.is(left?.due, true);

  const second = run();
  await stack.replicated(20_000);
  await second.stop();
  assert.is(most, 2);
});

test.run();
