/** What is queued while its copy, or a push of it, is being recorded there is not copied once more. */
import type pg from 'pg';
import * as assert from 'uvu/assert';
import { Backfill } from '../../lib/metadata/backfill.js';
import { Removal } from '../../lib/metadata/removal.js';
import type { Digest } from '../../lib/oci/digest.js';
import { claimAll } from '../support/claims.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import {
  emptied,
  imageOf,
  newRepository,
  pushed,
  put,
  queued,
  requeued,
  session,
  untilWaitedFor,
  whileWaiting,
} from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: copies that have just come');
let m: Metadata;
let other: pg.Client;

test.before(async () => {
  m = await freshMetadata();
  await m.places.register(['apstorage']);
  other = await session(m);
});
test.before.each(async () => {
  await other.query('rollback');
  await emptied(m);
});

/** Claims the only copy there is to be made, and records it as made in the other session's transaction, which stays open. */
async function ending(): Promise<void> {
  const [job, ...more] = await claimAll(m.replication, 'eustorage');
  assert.ok(job && more.length === 0);
  await other.query('begin');
  const { rows } = await other.query('select id from complete_replication($1, $2)', [[job?.id], [job?.token]]);
  assert.is(rows.length, 1);
}

/** The blob is in both locations, no copy of it is queued but to these, and all is counted as it is. */
async function assertThere(digest: Digest, waits: readonly string[] = []): Promise<void> {
  assert.equal(await queued(m, digest), waits);
  const counted = await m.db.query(
    `select l.name, c.missing::int, c.blobs::int from locationsum c join imagestoragelocation l on l.id = c.location_id
      order by l.name`,
  );
  const missing = (name: string) => (waits.includes(name) ? 1 : 0);
  assert.equal(counted, [
    { name: 'apstorage', missing: missing('apstorage'), blobs: 0 },
    { name: 'eustorage', missing: missing('eustorage'), blobs: 1 },
    { name: 'usstorage', missing: missing('usstorage'), blobs: 1 },
  ]);
}

test('a manifest while a copy of its blob is being recorded: nothing is queued, and the location has the image', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo);
  await ending();
  const image = imageOf([digest]);
  assert.equal(await whileWaiting(m, other, () => put(m, repo, image, 'v1')), { kind: 'stored' });
  await assertThere(digest);
  assert.is((await m.db.query('select 1 from pendingimage')).length, 0);
});

test('a manifest while its blob, which is queued to another location, is being pushed there', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo);
  await other.query('begin');
  await other.query(`select store_blob(repository_id($1, $2), $3, 7, 'eustorage', true, '')`, [
    ...newRepository().split('/'),
    digest,
  ]);
  await whileWaiting(m, other, () => put(m, repo, imageOf([digest]), 'v1'));
  await assertThere(digest);
});

test('another push of a blob while a copy of it is being recorded', async () => {
  const digest = await pushed(m, newRepository());
  await ending();
  await whileWaiting(m, other, () => pushed(m, newRepository(), 'usstorage', digest));
  await assertThere(digest);
});

test('a mount of a blob while a copy of it is being recorded', async () => {
  const from = newRepository();
  const digest = await pushed(m, from);
  await ending();
  await whileWaiting(m, other, () => m.blobs.mount({ repository: newRepository(), digest, from, traceId: '' }));
  await assertThere(digest);
});

test('a change of where blobs must be, while a copy is being recorded', async () => {
  const digest = await pushed(m, newRepository());
  await m.places.setDefaults(['usstorage', 'eustorage', 'apstorage'], true);
  await ending();
  await whileWaiting(m, other, () => requeued(m));
  await assertThere(digest, ['apstorage']);
});

test('a backfill while a copy is being recorded: it is counted as queued already', async () => {
  const digest = await pushed(m, newRepository());
  await ending();
  const all = { namespace: undefined, location: undefined };
  const step = await new Backfill(m.db).next(0, all, { dryRun: false, list: true });
  await other.query('commit');
  const none = { queued: 0, copies: [] };
  assert.equal(
    step?.locations.toSorted((a, b) => a.location.localeCompare(b.location)),
    [
      { location: 'eustorage', ...none, alreadyQueued: 1, inSync: 0 },
      { location: 'usstorage', ...none, alreadyQueued: 0, inSync: 1 },
    ],
  );
  await assertThere(digest);
});

test('a location drains while what was only there is recorded elsewhere: no other location has to take it', async () => {
  const digest = await pushed(m, newRepository());
  const removal = new Removal(m.db);
  assert.is(await removal.advance('usstorage', 'draining'), undefined);
  await ending();
  // Stops the look between what it finds and what it queues: whoever comes after this lock's request waits for it.
  const gate = await session(m);
  await gate.query('begin');
  const locking = gate.query('lock table replication in access exclusive mode');
  await untilWaitedFor(m, other);
  const looking = removal.lookForOnlyCopies('usstorage', '0', ['apstorage', 'eustorage']);
  try {
    await untilWaitedFor(m, gate);
  } finally {
    await other.query('commit');
    await locking;
    await gate.query('commit');
  }
  assert.is((await looking).blobs.length, 1);
  await assertThere(digest);
});

test.run();
