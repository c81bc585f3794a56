/** The queue of copies: what a push puts there, who may claim it, and what is recorded of a claim. */
import { randomUUID } from 'node:crypto';
import * as assert from 'uvu/assert';
import type { RepositoryName } from '../../lib/oci/name.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { newDigest, newRepository, pushed, traceId, transaction } from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: replication');
const US_TO_EU = {
  target: 'eustorage',
  source: 'usstorage',
  large: false,
  rows: 1_000,
  bytes: Number.MAX_SAFE_INTEGER,
};
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});

const recorded = (repo: RepositoryName) => pushed(m, repo);

test('recording a blob queues exactly the copies that are missing, with the trace id of the push', async () => {
  const digest = await recorded(newRepository());
  const rows = await m.db.query(
    `select l.name, r.trace_id from replication r join imagestorage s on s.id = r.storage_id
       join imagestoragelocation l on l.id = r.location_id where s.content_checksum = $1`,
    [digest],
  );
  assert.equal(rows, [{ name: 'eustorage', trace_id: traceId }]);
});

test('a blob pushed to both locations has nothing left to copy', async () => {
  const repo = newRepository();
  const digest = newDigest();
  const push = (location: string) =>
    m.blobs.record({ repository: repo, digest, size: 7, location, traceId: 'a'.repeat(32) });
  await push('usstorage');
  await push('eustorage');
  const rows = await m.db.query(
    'select 1 from replication r join imagestorage s on s.id = r.storage_id where s.content_checksum = $1',
    [digest],
  );
  assert.is(rows.length, 0);
  assert.equal([...((await m.blobs.find(repo, digest)).blob?.locations ?? [])].sort(), ['eustorage', 'usstorage']);
});

test('replication that is switched off queues nothing', async () => {
  const off = await freshMetadata({ libraryNamespace: 'library', replicate: false, writeQuorum: 1 });
  await off.blobs.record({
    repository: newRepository(),
    digest: newDigest(),
    size: 1,
    location: 'usstorage',
    traceId: '',
  });
  assert.is((await off.db.query('select 1 from replication')).length, 0);
});

test('a claim fences out the one before it', async () => {
  const digest = await recorded(newRepository());
  const mine = async () => (await m.replication.claim([US_TO_EU])).find(job => job.digest === digest);
  const first = await mine();
  if (!first) throw new Error('the copy was not claimed');
  assert.equal([first.sources, first.attempts], [['usstorage'], 1]);
  assert.is(await mine(), undefined, 'a claimed copy is not claimed again while the claim lasts');
  assert.ok(await m.replication.checkpoint(first, { offset: 3, session: Buffer.from('half') }));
  await m.replication.postpone(first, 0, 'try again');
  const second = await mine();
  assert.equal(second?.checkpoint, { offset: 3, session: Buffer.from('half') });
  assert.is(second?.attempts, 2);
  assert.not(await m.replication.checkpoint(first, { offset: 1, session: Buffer.from('old') }));
  assert.is((await m.replication.renew([first])).size, 0);
  await m.replication.complete([first]);
  assert.is((await m.db.query('select 1 from replication where id = $1', [first.id])).length, 1);
  if (second) await m.replication.complete([second]);
  const [row] = await m.db.query(
    `select count(*)::int as n, bool_and(p.verified_at is not null) as verified from imagestorageplacement p
       join imagestorage s on s.id = p.storage_id where s.content_checksum = $1`,
    [digest],
  );
  assert.equal(row, { n: 2, verified: true });
  assert.is((await m.db.query('select 1 from replication where id = $1', [first.id])).length, 0);
});

test('a checkpoint that arrives late does not take the record back, a new upload does', async () => {
  const digest = await recorded(newRepository());
  const claim = async () => (await m.replication.claim([US_TO_EU])).find(job => job.digest === digest);
  const at = (offset: number) => ({ offset, session: Buffer.from(`up to ${offset}`) });
  const first = await claim();
  if (!first) throw new Error('the copy was not claimed');
  const steps = [
    { offset: 8, anew: true, kept: 8 },
    { offset: 24, anew: false, kept: 24 },
    { offset: 16, anew: false, kept: 24 },
    { offset: 24, anew: false, kept: 24 },
    { offset: 4, anew: true, kept: 4 },
    { offset: 12, anew: false, kept: 12 },
  ];
  for (const { offset, anew, kept } of steps) {
    assert.ok(await m.replication.checkpoint(first, at(offset), anew), 'the claim is held, whatever is kept');
    const [row] = await m.db.query(
      'select bytes_done::int as offset, session, next_attempt_at > now() as held from replication where id = $1',
      [first.id],
    );
    assert.equal(row, { ...at(kept), held: true }, `${offset} ${anew ? 'anew' : 'late'}`);
  }
  await m.replication.postpone(first, 0, 'try again');
  const second = await claim();
  assert.equal(second?.checkpoint, at(12));
  assert.not(await m.replication.checkpoint(first, at(99), false), 'the claim is lost');
  assert.equal(second && (await m.replication.renew([second])).size, 1);
});

test('eight claimers at once never get the same copy', async () => {
  const repo = newRepository();
  const digests = await Promise.all(Array.from({ length: 100 }, () => recorded(repo)));
  const claims = await Promise.all(Array.from({ length: 8 }, () => m.replication.claim([{ ...US_TO_EU, rows: 30 }])));
  const ids = claims.flat().map(job => job.id);
  assert.is(new Set(ids).size, ids.length);
  const claimed = new Set(claims.flat().map(job => job.digest));
  assert.is(digests.filter(digest => claimed.has(digest)).length, 100);
});

test('a push that records a blob where a worker is just ending its copy does not wait for it in a circle', async () => {
  const repo = newRepository();
  const digest = await recorded(repo);
  const { run, untilWaiting } = await transaction(m);
  // What Replication.complete does, with time between its two steps.
  const { rows } = await run.query(
    `delete from replication r using imagestorage s where s.id = r.storage_id and s.content_checksum = $1
     returning r.storage_id, r.location_id`,
    [digest],
  );
  const uuid = randomUUID();
  await m.uploads.create({
    repository: repo,
    uuid,
    location: 'eustorage',
    session: Buffer.from('s'),
    algorithm: 'sha256',
  });
  const push = m.uploads.finish({
    ...{ repository: repo, uuid, held: { byteCount: 0 }, digest, size: 7 },
    ...{ location: 'eustorage', traceId: 'b'.repeat(32) },
  });
  await untilWaiting();
  await run.query('insert into imagestorageplacement (storage_id, location_id, verified_at) values ($1, $2, now())', [
    rows[0].storage_id,
    rows[0].location_id,
  ]);
  await run.query('commit');
  assert.is(await push, 'done');
  assert.equal([...((await m.blobs.find(repo, digest)).blob?.locations ?? [])].sort(), ['eustorage', 'usstorage']);
});

test('a copy that is distrusted while a worker is just ending it is neither forgotten nor waited for in a circle', async () => {
  const digest = await recorded(newRepository());
  await m.db.query(
    `insert into imagestorageplacement (storage_id, location_id, verified_at)
     select r.storage_id, r.location_id, now() from replication r join imagestorage s on s.id = r.storage_id
      where s.content_checksum = $1`,
    [digest],
  );
  const { run, untilWaiting } = await transaction(m);
  await run.query("set local deadlock_timeout = '10ms'");
  const { rows } = await run.query(
    `delete from replication r using imagestorage s where s.id = r.storage_id and s.content_checksum = $1
     returning r.storage_id, r.location_id`,
    [digest],
  );
  const distrust = m.replication.distrust(digest, 'eustorage', 'damaged');
  await untilWaiting();
  await run.query(
    'insert into imagestorageplacement (storage_id, location_id, verified_at) values ($1, $2, now()) on conflict do nothing',
    [rows[0].storage_id, rows[0].location_id],
  );
  await run.query('commit');
  assert.is(await distrust, true);
  assert.is((await m.db.query('select 1 from replication where storage_id = $1', [rows[0].storage_id])).length, 1);
});

test.run();
