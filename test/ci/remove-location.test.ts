/** A location is removed by a worker, with what stands in the way, and with a store that is gone for good. */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import type { Locations } from '../../lib/locations/locations.js';
import { LocationWork } from '../../lib/metadata/location-work.js';
import { ReplicationSignal } from '../../lib/metadata/notify.js';
import { Removal } from '../../lib/metadata/removal.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { hasReason, type StatusError } from '../../lib/rpc/errors.js';
import type { RemoveLocationResponse__Output } from '../../proto/generated/entrepot/admin/v1/RemoveLocationResponse.js';
import type { RemovalEvent } from '../../worker/remove-location/events.js';
import { type RemoveParts, type RemoveRequest, removeLocation } from '../../worker/remove-location/remove-location.js';
import { adminClient, read } from '../support/admin.js';
import { type Metadata, openLocations, openMetadata, quiet } from '../support/clients.js';
import { imageOf, newRepository, put, repository } from '../support/rows.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: removing a location', { timeoutMs: 60_000 });
const forever = new AbortController().signal;
const team = repository('team/app');
let stack: Stack;
let m: Metadata;
let removal: Removal;
let locations: Locations;
let parts: RemoveParts;
let queued: ReplicationSignal;

test.before(async () => {
  stack = await startStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'worker-us'],
    config: { DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: ['usstorage'] },
  });
  m = openMetadata(stack.databaseUrl);
  removal = new Removal(m.db);
  queued = new ReplicationSignal(m.db, quiet);
  atEnd(() => queued.close());
  locations = openLocations(stack);
  await locations.settle(5_000);
  parts = {
    ...{
      removal,
      locations,
      work: new LocationWork(m.db),
      replicate: true,
      onQueued: () => queued.notify(),
      log: quiet,
    },
    patience: { lookMs: 20, idleUploadMs: 100, uploadsMs: 1_000, stallMs: 400 },
  };
});

/** A blob that is in eu only. */
async function inEu(bytes = randomBytes(1_000), repo = team): Promise<Digest> {
  const digest = digestOf(bytes);
  const store = locations.get('eustorage')?.store;
  const [error] = (await store?.writeBatch([{ digest, data: bytes }])) ?? [];
  assert.equal(error, { value: undefined });
  await m.blobs.record({ repository: repo, digest, size: bytes.length, location: 'eustorage', traceId: '' });
  return digest;
}

async function remove(request: Partial<RemoveRequest>, options: Partial<RemoveParts> = {}): Promise<RemovalEvent[]> {
  const whole = { location: 'eustorage', dryRun: false, force: false, deleteObjects: false, giveUp: false, ...request };
  const events: RemovalEvent[] = [];
  for await (const event of removeLocation({ ...parts, ...options }, whole, forever)) events.push(event);
  return events;
}

/** Copies are made again. */
async function resumed(): Promise<void> {
  await stack.sql('update locationstate set paused = false');
  queued.notify();
  await stack.replicated();
}

async function refusal(run: Promise<unknown>): Promise<StatusError> {
  const error = await run.then(
    () => assert.unreachable('it was not refused'),
    failure => failure,
  );
  assert.ok(hasReason(error, 'REFUSED'), String(error));
  return error as StatusError;
}

test('what cannot be copied away is refused, with examples, and the location is in use as before', async () => {
  const digest = await inEu();
  await m.db.query('update locationstate set paused = true');
  const error = await refusal(remove({}));
  assert.match(error.message, `the last verified copy of 1 blob: ${digest} (copying to usstorage is paused)`);
  assert.is(await removal.state('eustorage'), 'active');
  assert.is((await m.db.query('select 1 from imagestorageplacement')).length, 1);
  await resumed();
});

test('without replication nothing could be copied away: it says so', async () => {
  await stack.sql('update locationstate set paused = true');
  await inEu();
  const error = await remove({}, { replicate: false }).catch(failure => failure);
  assert.ok(hasReason(error, 'REPLICATION_OFF'), String(error));
  assert.is(await removal.state('eustorage'), 'active');
  await resumed();
});

test('over gRPC: the name must be typed twice; a dry run tells, and changes nothing; an unknown name is unknown', async () => {
  const admin = adminClient(`127.0.0.1:${stack.ports['worker-us']}`);
  const ask = (request: Parameters<typeof admin.removeLocation>[0]) =>
    read<RemoveLocationResponse__Output>(admin.removeLocation(request));
  const location = 'eustorage';
  const twice = await ask({ location, confirm: 'usstorage' }).catch(error => error);
  assert.ok(hasReason(twice, 'MALFORMED'), String(twice));
  const unknown = await ask({ location: 'mars', confirm: 'mars' }).catch(error => error);
  assert.ok(hasReason(unknown, 'LOCATION_UNKNOWN'), String(unknown));
  const needed = await ask({ location: 'usstorage', dryRun: true }).catch(error => error);
  assert.match(needed.message, /1 process that runs \(worker .*\) must have every blob in usstorage/);
  const told = await ask({ location, dryRun: true });
  assert.is(told[0]?.progress?.placements, 2);
  assert.is(told.at(-1)?.deletedLocation, location);
  assert.is(await removal.state('eustorage'), 'active');
});

test('a store that is gone for good, and in no configuration: the last copies are listed, and given up by force only', async () => {
  await m.places.register(['deadstorage']);
  const repo = newRepository();
  const digest = digestOf(randomBytes(10));
  await m.blobs.record({ repository: repo, digest, size: 10, location: 'deadstorage', traceId: '' });
  const image = imageOf([digest]);
  await put(m, repo, image, 'v1');
  for (const dryRun of [true, false]) {
    const error = await refusal(remove({ location: 'deadstorage', dryRun }));
    assert.match(error.message, digest);
    assert.match(error.message, 'put its entry back into DISTRIBUTED_STORAGE_CONFIG');
    assert.is(await removal.state('deadstorage'), 'active');
  }
  const events = await remove({ location: 'deadstorage', force: true });
  const kinds = events.map(({ kind }) => kind).filter(kind => kind !== 'progress');
  assert.equal(kinds, ['broken', 'deleted', 'removed']);
  const broken = events.find(event => event.kind === 'broken');
  assert.equal(broken?.kind === 'broken' && broken.image, {
    ...{ repository: repo, tag: 'v1', manifest: image.digest },
    digest,
  });
  assert.is((await m.blobs.find(repo, digest)).blob, undefined);
  assert.equal((await remove({ location: 'deadstorage' })).at(-1), { kind: 'removed', location: 'deadstorage' });
  const [row] = await stack.sql('select last_error from replication');
  assert.match(String(row?.last_error), 'push the blob again');
  await stack.sql('delete from manifestblob');
  await stack.sql('delete from replication');
});

test('ended in the middle, it goes on when it is called again, or is given up; one at a time', async () => {
  await stack.sql('update locationstate set paused = true');
  await inEu();
  const ending = new AbortController();
  const request = { location: 'eustorage', dryRun: false, force: false, deleteObjects: false, giveUp: false };
  const patient = { ...parts, patience: { ...parts.patience, stallMs: 60_000 } };
  let waits = false;
  const running = (async () => {
    for await (const event of removeLocation(patient, request, ending.signal)) {
      if (event.kind === 'progress' && event.progress.waitingFor.startsWith('copies of 1 blob')) waits = true;
    }
  })();
  running.catch(() => {});
  assert.ok(await until(() => waits, 20_000));
  const busy = await remove({}).catch(error => error);
  assert.ok(hasReason(busy, 'BUSY_ELSEWHERE'), String(busy));
  ending.abort();
  const cancelled = await running.catch(error => error);
  assert.is(cancelled?.status, 'CANCELLED');
  assert.is(await removal.state('eustorage'), 'draining');
  await remove({ giveUp: true });
  assert.is(await removal.state('eustorage'), 'active');
  await resumed();
});

test('removed: each record is told, unfinished uploads are ended and freed, the objects go last', async () => {
  const repo = newRepository();
  await m.namespaces.setLocations('some', { locations: ['eustorage'], replace: false });
  await m.db.query('delete from requeue');
  const digests = [await inEu(), await inEu(randomBytes(900_000), repo)];
  const store = locations.get('eustorage')?.store;
  const begun = await store?.begin({});
  await m.uploads.create({
    ...{ repository: repo, uuid: 'u1', location: 'eustorage', algorithm: 'sha256' },
    session: begun?.session ?? Buffer.alloc(0),
  });
  const ids = (await m.db.query(
    `select p.id::int as id from imagestorageplacement p join imagestoragelocation l on l.id = p.location_id
      where l.name = 'eustorage' order by p.storage_id`,
  )) as { id: number }[];
  const events = await remove({ deleteObjects: true }, { patience: { ...parts.patience, stallMs: 20_000 } });
  assert.equal(
    events.flatMap(event => (event.kind === 'deleted' ? [event.placement] : [])),
    ids.map(({ id }) => id),
  );
  assert.equal(events.at(-1), { kind: 'removed', location: 'eustorage' });
  assert.equal(await stack.blobsOf('eustorage'), []);
  const gone = await store
    ?.append(begun?.session ?? Buffer.alloc(0), (async function* () {})(), () => {})
    .catch(error => error);
  assert.ok(hasReason(gone, 'UPLOAD_UNKNOWN'), 'the upload is freed');
  for (const digest of digests) assert.ok((await stack.blobsOf('usstorage')).includes(digest));
  assert.is((await m.db.query('select 1 from userregion')).length, 0);
});

test('a process whose configuration still has the location says so, and does without it', async () => {
  const worker = await stack.start('worker-eu');
  assert.match(worker.log(), 'eustorage was removed from the registry, and is not used');
  assert.is(await removal.state('eustorage'), 'removed');
});

test('the only one stays', async () => {
  await stack.part('worker-us').stop();
  await stack.part('worker-eu').stop();
  assert.match((await refusal(remove({ location: 'usstorage' }))).message, 'usstorage is the only location');
});

test.run();
