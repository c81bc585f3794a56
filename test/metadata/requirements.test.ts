/** Where blobs must be, and that a change of it is never missed by a push, nor a push by it. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { Digest } from '../../lib/oci/digest.js';
import type { RepositoryName } from '../../lib/oci/name.js';
import { freshMetadata, type Metadata, openMetadata } from '../support/clients.js';
import {
  imageOf,
  namespaceOf,
  newDigest,
  newRepository,
  pushed,
  put,
  queued,
  repository,
  requeued,
  session,
} from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: where blobs must be');
const BOTH = ['eustorage', 'usstorage'];
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
  await m.places.register(['apstorage']);
});
test.before.each(async () => {
  await m.places.setDefaults(BOTH, true);
  await requeued(m);
});

test('a location that is added is queued for what was pushed before, also if the process dies right after', async () => {
  const digests = await Promise.all(Array.from({ length: 30 }, () => pushed(m, newRepository())));
  const dying = await session(m);
  dying.on('error', () => {});
  const { rows } = await dying.query('select pg_backend_pid() as pid, set_default_locations($1, true)', [
    [...BOTH, 'apstorage'],
  ]);
  await m.db.query('select pg_terminate_backend($1)', [rows[0].pid]);
  assert.equal(await queued(m, digests[0] as Digest), ['eustorage'], 'nothing is done yet, only noted');
  await requeued(m);
  for (const digest of digests) assert.equal(await queued(m, digest), ['apstorage', 'eustorage']);
  assert.is((await m.db.query('select 1 from requeue')).length, 0);
});

test('a location that is left out: its queued copies are taken out, others stay', async () => {
  await m.places.setDefaults([...BOTH, 'apstorage'], true);
  await requeued(m);
  const [plain, special] = [newRepository(), newRepository()];
  await m.namespaces.setLocations(namespaceOf(special), { locations: ['apstorage'], replace: false });
  const [one, two] = [await pushed(m, plain), await pushed(m, special)];
  assert.equal(await queued(m, one), ['apstorage', 'eustorage']);
  await m.places.setDefaults(BOTH, true);
  await requeued(m);
  assert.equal(await queued(m, one), ['eustorage']);
  assert.equal(await queued(m, two), ['apstorage', 'eustorage'], 'its namespace still wants it there');
});

test('the same again changes nothing and leaves nothing to do', async () => {
  await Promise.all(Array.from({ length: 8 }, () => m.places.setDefaults(BOTH, true)));
  assert.is((await m.db.query('select 1 from requeue')).length, 0);
});

test('a piece at a time: what was done is not done again by the next process', async () => {
  await Promise.all(Array.from({ length: 20 }, () => pushed(m, newRepository())));
  await m.places.setDefaults(['apstorage'], true);
  const client = await session(m);
  const { rows } = await client.query('select requeue_some(7) as more, (select min(after_blob) from requeue) as at');
  assert.is(rows[0].more, true);
  const after = async () => Number((await m.db.query('select after_blob from requeue'))[0]?.after_blob);
  const first = await after();
  await client.query('select requeue_some(7)');
  assert.ok((await after()) > first);
});

test("a namespace's locations beside the default ones, then instead of them, then none of its own", async () => {
  const repo = newRepository();
  const name = namespaceOf(repo);
  const other = await pushed(m, newRepository());
  const digest = await pushed(m, repo);
  assert.equal(await m.namespaces.setLocations(name, { locations: ['apstorage'], replace: false }), []);
  await requeued(m);
  assert.equal(await queued(m, digest), ['apstorage', 'eustorage']);
  assert.is(await m.namespaces.allowedFor(repo), undefined, 'it may be written anywhere');
  await m.namespaces.setLocations(name, { locations: ['apstorage'], replace: true });
  await requeued(m);
  assert.equal(await queued(m, digest), ['apstorage']);
  assert.equal(await m.namespaces.allowedFor(repo), ['apstorage']);
  assert.equal(await queued(m, await pushed(m, repo, 'apstorage')), []);
  await m.namespaces.setLocations(name, { locations: [], replace: false });
  await requeued(m);
  assert.equal(await queued(m, digest), ['eustorage']);
  assert.is(await m.namespaces.locations(name), undefined);
  assert.equal(await queued(m, other), ['eustorage'], 'nothing of it concerned others');
});

test('a blob that two namespaces share goes where either wants it', async () => {
  const [plain, resident] = [newRepository(), newRepository()];
  await m.namespaces.setLocations(namespaceOf(resident), { locations: ['apstorage'], replace: true });
  const digest = await pushed(m, plain);
  assert.equal(await queued(m, digest), ['eustorage']);
  await m.blobs.mount({ repository: resident, digest, from: plain, traceId: '' });
  assert.equal(await queued(m, digest), ['apstorage', 'eustorage']);
  await m.namespaces.setLocations(namespaceOf(resident), { locations: ['usstorage'], replace: true });
  await requeued(m);
  assert.equal(await queued(m, digest), ['eustorage']);
});

test('a blob that only a manifest still needs is queued with the others', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo);
  await put(m, repo, imageOf([digest]), 'v1');
  await m.blobs.unlink(repo, digest);
  await m.places.setDefaults([...BOTH, 'apstorage'], true);
  await requeued(m);
  assert.equal(await queued(m, digest), ['apstorage', 'eustorage']);
});

test('names that are no locations, and none at all instead of the default ones, are refused', async () => {
  const name = 'refused';
  assert.equal(await m.namespaces.setLocations(name, { locations: ['usstorage', 'mars'], replace: true }), ['mars']);
  assert.is(await m.namespaces.locations(name), undefined);
  const failure = await m.namespaces.setLocations(name, { locations: [], replace: true }).catch(error => error);
  assert.instance(failure, RangeError);
});

test('an upload is recorded only where its namespace is kept', async () => {
  const repo = newRepository();
  const upload = { repository: repo, session: Buffer.from('s'), algorithm: 'sha256' } as const;
  const create = (uuid: string, location: string) => m.uploads.create({ ...upload, uuid, location });
  assert.equal(await create('u1', 'usstorage'), { created: true, allowed: undefined });
  await m.namespaces.setLocations(namespaceOf(repo), { locations: ['eustorage', 'apstorage'], replace: true });
  assert.equal(await create('u2', 'usstorage'), { created: false, allowed: ['apstorage', 'eustorage'] });
  assert.is(await m.uploads.find(repo, 'u2'), undefined);
  assert.equal(await create('u3', 'eustorage'), { created: true, allowed: ['apstorage', 'eustorage'] });
});

/** A push whose transaction stays open for a while. */
async function slowPush(client: Awaited<ReturnType<typeof session>>, repo: RepositoryName, digest: Digest) {
  const [namespace, name] = repo.split('/');
  await sleep(Math.random() * 12);
  await client.query('begin');
  await client.query(`select store_blob(repository_id($1, $2), $3, 7, 'usstorage', true, '')`, [
    namespace,
    name,
    digest,
  ]);
  await sleep(Math.random() * 12);
  await client.query('commit');
}

test('pushes during a change of locations, in 40 random interleavings: every copy is queued, and no other', async () => {
  const clients = await Promise.all([session(m), session(m), session(m)]);
  const changer = openMetadata(m.url);
  for (let round = 0; round < 40; round++) {
    const repos = [newRepository(), newRepository(), newRepository()];
    // The third blob is shared with a namespace of its own wishes, and queued already.
    const shared = await pushed(m, newRepository());
    const digests = [newDigest(), newDigest(), shared];
    const byDefault = round % 2 === 0;
    const wanted = round % 4 < 2 ? ['apstorage', 'usstorage'] : BOTH;
    const change = async () => {
      await sleep(Math.random() * 20);
      if (byDefault) await changer.places.setDefaults(wanted, true);
      else {
        const own = { locations: wanted, replace: true };
        for (const repo of repos) await changer.namespaces.setLocations(namespaceOf(repo), own);
      }
      await requeued(changer);
    };
    await Promise.all([
      change(),
      ...clients.map((client, n) => slowPush(client, repos[n] ?? repository('x/y'), digests[n] ?? newDigest())),
    ]);
    await requeued(m);
    const copies = wanted.filter(name => name !== 'usstorage');
    for (const digest of digests.slice(0, 2)) assert.equal(await queued(m, digest), copies, `round ${round}`);
    const alsoShared = byDefault ? copies : [...new Set([...copies, ...(await defaults())])].sort();
    assert.equal(await queued(m, shared), alsoShared, `round ${round}: the shared one`);
  }
});

async function defaults(): Promise<string[]> {
  const rows = await m.db.query(
    'select l.name from defaultlocation d join imagestoragelocation l on l.id = d.location_id where l.name <> $1',
    ['usstorage'],
  );
  return rows.map(row => String(row.name));
}

test('a copy that a push counts on is not taken out of the queue while the push is not committed', async () => {
  const [plain, resident] = [newRepository(), newRepository()];
  await m.namespaces.setLocations(namespaceOf(resident), { locations: ['eustorage', 'apstorage'], replace: true });
  await requeued(m);
  const digest = await pushed(m, plain);
  const client = await session(m);
  await m.places.setDefaults(['usstorage'], true);
  await client.query('begin');
  // The copy to eu is queued already: this push adds nothing there.
  await client.query('select mount_blob_from($1, $2, $3, $4, $5, true, $6)', [
    ...resident.split('/'),
    digest,
    [plain],
    [],
    '',
  ]);
  const requeuing = requeued(m);
  await sleep(200);
  await client.query('commit');
  await requeuing;
  assert.equal(await queued(m, digest), ['apstorage', 'eustorage']);
});

test.run();
