/** A location's store is compared with its records, and one that holds blobs already is taken over. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Locations } from '../../lib/locations/locations.js';
import { readBlob } from '../../lib/locations/read.js';
import type { RemoteStore } from '../../lib/locations/store.js';
import { LocationWork } from '../../lib/metadata/location-work.js';
import { Verification } from '../../lib/metadata/verification.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import type { AdoptLocationResponse__Output } from '../../proto/generated/entrepot/admin/v1/AdoptLocationResponse.js';
import type { ReleaseAdoptedResponse__Output } from '../../proto/generated/entrepot/admin/v1/ReleaseAdoptedResponse.js';
import type { VerifyLocationResponse__Output } from '../../proto/generated/entrepot/admin/v1/VerifyLocationResponse.js';
import type { Found, VerifyEvent } from '../../worker/verify-location/events.js';
import { isSampled, type VerifyRequest, verifyLocation } from '../../worker/verify-location/verify-location.js';
import { call, read, startAdmin } from '../support/admin.js';
import { blobFile } from '../support/blob-file.js';
import { type Metadata, openLocations, openMetadata, quiet } from '../support/clients.js';
import { queued, repository } from '../support/rows.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';

const test = suite('worker: verifying and adopting a location', { timeoutMs: 60_000 });
const team = repository('team/app');
const forever = new AbortController().signal;
let stack: Stack;
let m: Metadata;
let locations: Locations;
let eu: RemoteStore;

test.before(async () => {
  stack = await startStack({ parts: ['storage-proxy-us', 'storage-proxy-eu'] });
  m = openMetadata(stack.databaseUrl);
  await m.places.register(['usstorage', 'eustorage']);
  await m.places.setDefaults(['usstorage', 'eustorage'], true);
  locations = openLocations(stack);
  await locations.settle(5_000);
  eu = storeOf('eustorage');
});
test.before.each(async () => {
  await m.db.query('truncate imagestorage, verification, "user", requeue cascade');
  for (const folder of ['sha256', 'sha512']) {
    for (const location of ['usstorage', 'eustorage']) {
      await rm(join(stack.storagePath(location), folder), { recursive: true, force: true });
    }
  }
});

function storeOf(location: string): RemoteStore {
  const found = locations.get(location);
  if (!found) throw new Error(`no ${location}`);
  return found.store;
}

function fileOf(location: string, digest: Digest): string {
  return blobFile(stack.storagePath(location), digest);
}

/** Puts a file where the store has its blobs, as another registry would. */
async function stored(location: string, bytes: Buffer, digest = digestOf(bytes), ageMs = 0): Promise<Digest> {
  const file = fileOf(location, digest);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, bytes);
  const at = new Date(Date.now() - ageMs);
  await utimes(file, at, at);
  return digest;
}

/** A blob that is stored and recorded in these locations. */
async function recorded(names = ['usstorage', 'eustorage'], bytes = randomBytes(100)): Promise<Digest> {
  const digest = digestOf(bytes);
  for (const location of names) {
    await stored(location, bytes);
    await m.blobs.record({ repository: team, digest, size: bytes.length, location, traceId: '' });
  }
  return digest;
}

async function unverified(digest: Digest, location = 'eustorage'): Promise<void> {
  await m.db.query(
    `update imagestorageplacement set verified_at = null
      where storage_id = (select id from imagestorage where content_checksum = $1)
        and location_id = (select id from imagestoragelocation where name = $2)`,
    [digest, location],
  );
  await m.db.query(
    `insert into replication (storage_id, location_id)
     select s.id, l.id from imagestorage s, imagestoragelocation l where s.content_checksum = $1 and l.name = $2`,
    [digest, location],
  );
}

interface Verified {
  readonly found: Found[];
  readonly last: Extract<VerifyEvent, { kind: 'progress' }>;
}

async function verify(
  request: Partial<VerifyRequest> = {},
  graceMs = 0,
  most = Number.MAX_SAFE_INTEGER,
  meanwhile: () => Promise<void> = async () => {},
): Promise<Verified> {
  const usual: VerifyRequest = { location: 'eustorage', depth: 'digest', percent: 100, restart: false, dryRun: false };
  const whole = { ...usual, ...request };
  const parts = {
    ...{ verification: new Verification(m.db), replication: m.replication, work: new LocationWork(m.db), graceMs },
    ...{ onQueued: () => {}, log: quiet },
  };
  const found: Found[] = [];
  let last: VerifyEvent | undefined;
  for await (const event of verifyLocation(parts, eu, whole, forever)) {
    if (event.kind === 'found') found.push(event.found);
    else {
      if (!last) await meanwhile();
      last = event;
    }
    if (event.kind === 'progress' && --most <= 0) break;
  }
  if (last?.kind !== 'progress') throw new Error('it did not tell how far it got');
  return { found, last };
}

const kindsOf = ({ found }: Verified) => found.map(({ kind, digest }) => `${kind} ${digest}`).sort();

test('missing, cut, flipped, unverified and unreferenced: each is found, and made good where it can be', async () => {
  const [good, missing, cut, flipped, lost, fresh] = await Promise.all([
    ...[recorded(), recorded(), recorded(), recorded()],
    ...[recorded(['eustorage']), recorded()],
  ] as const);
  const stranger = await stored('eustorage', randomBytes(50));
  await rm(fileOf('eustorage', missing));
  await truncate(fileOf('eustorage', cut), 10);
  await writeFile(fileOf('eustorage', flipped), randomBytes(100));
  await rm(fileOf('eustorage', lost));
  await unverified(fresh);
  const expected = [
    ...[`missing ${missing}`, `missing ${lost}`, `corrupt ${cut}`, `corrupt ${flipped}`],
    `unreferenced ${stranger}`,
  ].sort();

  const told = await verify({ dryRun: true });
  assert.equal(kindsOf(told), expected);
  assert.equal(await queued(m, missing), [], 'a dry run changes nothing');

  const done = await verify();
  assert.equal(kindsOf(done), expected);
  assert.equal(done.last, {
    kind: 'progress',
    counts: { blobsDone: 6, bytesHashed: 300, missing: 2, corrupt: 2, newlyVerified: 1, unreferenced: 1 },
    total: 6,
    done: true,
  });
  for (const digest of [missing, cut, flipped]) {
    assert.equal(await queued(m, digest), ['eustorage']);
    assert.equal((await m.blobs.find(team, digest)).blob?.locations, ['usstorage']);
  }
  assert.equal((await m.blobs.find(team, lost)).blob?.locations, ['eustorage'], 'the last one is only marked');
  for (const digest of [good, fresh]) assert.equal(await queued(m, digest), []);
  const [sum] = await m.db.query(
    "select c.unverified::int from locationsum c join imagestoragelocation l on l.id = c.location_id where l.name = 'eustorage'",
  );
  assert.equal(sum, { unverified: 1 });
  assert.is((await m.db.query('select 1 from verification')).length, 0);
});

test('by size, what has other bytes is not noticed; by sample, only a part is looked at', async () => {
  const digests = await Promise.all(Array.from({ length: 20 }, () => recorded()));
  for (const digest of digests) await writeFile(fileOf('eustorage', digest), randomBytes(100));
  assert.equal((await verify({ depth: 'size' })).found, []);
  const sampled = digests.filter(digest => isSampled(digest, 30));
  assert.ok(sampled.length < 20);
  const part = await verify({ percent: 30 });
  assert.equal(kindsOf(part), sampled.map(digest => `corrupt ${digest}`).sort());
  assert.is(part.last.counts.blobsDone, sampled.length);
});

test('an object whose push is not over yet is looked at again: recorded meanwhile, it is none that nobody refers to', async () => {
  const bytes = randomBytes(100);
  const digest = await stored('eustorage', bytes);
  const other = await stored('eustorage', randomBytes(10));
  const recordedLate = async () => {
    await m.blobs.record({ repository: team, digest, size: bytes.length, location: 'eustorage', traceId: '' });
  };
  const verified = await verify({ depth: 'size' }, 100, undefined, recordedLate);
  assert.equal(kindsOf(verified), [`unreferenced ${other}`]);
  await stored('eustorage', randomBytes(10), other, 7_200_000);
  assert.is((await verify({ depth: 'size' }, 60_000)).found.length, 1, 'an old one need not be waited for');
});

test('more than a page of both: nothing is passed over, and a call that was ended is gone on with', async () => {
  const all = Array.from({ length: 450 }, () => randomBytes(8));
  await Promise.all(all.map(bytes => stored('eustorage', bytes, digestOf(bytes), 7_200_000)));
  const digests = all.map(bytes => digestOf(bytes)).toSorted();
  await m.db.query('insert into imagestorage (content_checksum, image_size) select d, 8 from unnest($1::text[]) d', [
    digests.filter((_, index) => index % 3 !== 0),
  ]);
  await m.db.query(
    `insert into imagestorageplacement (storage_id, location_id, verified_at)
     select s.id, l.id, now() from imagestorage s, imagestoragelocation l where l.name = 'eustorage'`,
  );
  const strangers = digests.filter((_, index) => index % 3 === 0);
  // Progress comes at the end of each page, and sometimes in between.
  const first = await verify({}, 0, 1);
  const rest = await verify();
  assert.equal(
    kindsOf({ ...first, found: [...first.found, ...rest.found] }).filter((each, n, every) => each !== every[n - 1]),
    strangers.map(digest => `unreferenced ${digest}`),
  );
  assert.equal(rest.last.counts, {
    blobsDone: 300,
    bytesHashed: 2_400,
    missing: 0,
    corrupt: 0,
    newlyVerified: 0,
    unreferenced: 150,
  });
});

test('adopted: what a store holds is recorded as unverified, can be pulled once it is referred to, and is let go of', async () => {
  const admin = await startAdmin(m, { locations });
  const adopt = async (dryRun = false) => {
    const answers = await read<AdoptLocationResponse__Output>(admin.adoptLocation({ location: 'eustorage', dryRun }));
    return { last: answers.at(-1)?.progress, conflicts: answers.flatMap(({ conflict }) => conflict?.digest ?? []) };
  };
  const [used, unused, damaged] = [randomBytes(1_000), randomBytes(10), randomBytes(20)].map(bytes => ({
    bytes,
    digest: digestOf(bytes),
  }));
  if (!used || !unused || !damaged) throw new Error('no samples');
  await stored('eustorage', used.bytes);
  await stored('eustorage', unused.bytes);
  await stored('eustorage', randomBytes(20), damaged.digest);
  const known = await recorded();
  const conflict = await recorded(['usstorage']);
  await stored('eustorage', randomBytes(7), conflict);
  const expected = { objects: 5, adopted: 3, known: 1, conflicts: 1, bytes: 1_030, done: true };
  assert.equal(await adopt(true), { last: expected, conflicts: [conflict] });
  assert.is((await m.db.query('select 1 from adoptedblob')).length, 0);
  assert.equal(await adopt(), { last: expected, conflicts: [conflict] });
  assert.equal(await adopt(), { last: { ...expected, adopted: 0, known: 4, bytes: 0 }, conflicts: [conflict] });

  await m.db.query(
    `insert into uploadedblob (repository_id, blob_id, expires_at)
     select repository_id('team', 'app'), id, now() from imagestorage where content_checksum = any ($1)`,
    [[used.digest, damaged.digest]],
  );
  const found = (await m.blobs.find(team, used.digest)).blob;
  assert.equal(found, { size: 1_000, locations: ['eustorage'] });
  const opened = await readBlob({
    ...{ locations, digest: used.digest, size: 1_000, holders: ['eustorage'] },
    ...{ range: { offset: 0, length: 1_000 }, context: {} },
  });
  const pieces: Buffer[] = [];
  for await (const piece of opened.bytes) pieces.push(piece);
  assert.is(digestOf(Buffer.concat(pieces)), used.digest);

  const answers = await read<VerifyLocationResponse__Output>(
    admin.verifyLocation({ location: 'eustorage', depth: 'VERIFY_DEPTH_DIGEST', dryRun: true, samplePercent: 0 }),
    1,
  );
  assert.ok(answers.length > 0);
  const verified = await verify();
  assert.equal(kindsOf(verified), [`corrupt ${damaged.digest}`, `unreferenced ${conflict}`].sort());
  assert.is(verified.last.counts.newlyVerified, 2);

  const release = () =>
    call<object, ReleaseAdoptedResponse__Output>(admin.releaseAdopted.bind(admin), { location: 'eustorage' });
  assert.equal(await release(), { blobs: 1 });
  assert.equal(await release(), { blobs: 0 });
  assert.ok((await stack.blobsOf('eustorage')).includes(unused.digest), 'the object stays');
  const rows = await m.db.query('select content_checksum as digest from imagestorage order by 1');
  assert.equal(
    rows.map(({ digest }) => digest),
    [used.digest, damaged.digest, known, conflict].toSorted(),
  );
});

test.run();
