/** Claims: their order, what they leave alone, and that they cost the same however many copies wait. */
import type pg from 'pg';
import * as assert from 'uvu/assert';
import type { QueueRoom } from '../../lib/metadata/replication.js';
import type { Digest } from '../../lib/oci/digest.js';
import { SMALL_BLOB_BYTES } from '../../worker/replicate/batch.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { pagesOf } from '../support/costs.js';
import { session } from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: claims');
const MANY = 40_000;
let m: Metadata;
let counter = 0;

test.before(async () => {
  m = await freshMetadata();
  await m.places.register(['apstorage']);
});
test.before.each(async () => {
  await m.db.query('delete from replication');
});

interface Wanted {
  readonly to?: string;
  readonly from?: readonly string[];
  readonly size?: number;
  readonly priority?: number;
  /** Since so many seconds; negative: due in so many. */
  readonly waits?: number;
}
/** Queues one copy; answers its digest. */
async function queued({ to = 'eustorage', from = ['usstorage'], size = 10, priority = 0, waits = 1 }: Wanted = {}) {
  const digest = `sha256:${(++counter).toString(16).padStart(64, '0')}`;
  await m.db.query('insert into imagestorage (content_checksum, image_size) values ($1, $2)', [digest, size]);
  for (const name of from) {
    await m.db.query(
      `insert into imagestorageplacement (storage_id, location_id, verified_at) select s.id, l.id, now()
         from imagestorage s, imagestoragelocation l where s.content_checksum = $1 and l.name = $2`,
      [digest, name],
    );
  }
  await m.db.query(
    `insert into replication (storage_id, location_id, priority, next_attempt_at)
     select s.id, l.id, $3, now() - $4 * interval '1 second'
       from imagestorage s, imagestoragelocation l where s.content_checksum = $1 and l.name = $2`,
    [digest, to, priority, waits],
  );
  return digest;
}
function room(source: string | undefined, more: Partial<QueueRoom> = {}): QueueRoom {
  return { target: 'eustorage', source, large: false, rows: 1_000, bytes: Number.MAX_SAFE_INTEGER, ...more };
}
const digests = (jobs: readonly { digest: string }[]) => jobs.map(job => job.digest);

test('asked-for copies are claimed first, then those that wait longest; what is not due stays', async () => {
  const young = await queued({ waits: 1 });
  const old = await queued({ waits: 100 });
  await queued({ waits: -60 });
  const asked = await queued({ priority: 100, waits: 2 });
  const due = async () => digests(await m.replication.claim([room('usstorage', { rows: 1 })]));
  assert.equal([await due(), await due(), await due(), await due()], [[asked], [old], [young], []]);
});

test('one copy that is asked for is claimed though it is not due; later askers hear who has it, or that it is there', async () => {
  const digest = (await queued({ waits: -60 })) as Digest;
  const claim = await m.replication.claimOne(digest, 'eustorage');
  assert.is(claim.kind, 'claimed');
  assert.equal(await m.replication.claimOne(digest, 'eustorage'), { kind: 'busy', worker: undefined });
  if (claim.kind === 'claimed') await m.replication.complete([claim.job]);
  assert.equal(await m.replication.claimOne(digest, 'eustorage'), { kind: 'stored' });
  assert.equal(await m.replication.claimOne(digest, 'apstorage'), { kind: 'unknown' });
});

test('small and large ones are claimed apart; the border is where batches end', async () => {
  const small = await queued({ size: SMALL_BLOB_BYTES });
  const large = await queued({ size: SMALL_BLOB_BYTES + 1 });
  assert.equal(digests(await m.replication.claim([room('usstorage', { large: true })])), [large]);
  assert.equal(digests(await m.replication.claim([room('usstorage')])), [small]);
});

test('no more is claimed once the bytes are enough', async () => {
  for (let index = 0; index < 5; index++) await queued({ size: 400 });
  assert.is((await m.replication.claim([room('usstorage', { bytes: 1_000 })])).length, 3);
});

test('a claim takes only what is filed under its sources; a look files it elsewhere if it can come from there', async () => {
  const both = await queued({ from: ['usstorage', 'apstorage'] });
  const onlyUs = await queued();
  const nowhere = await queued({ from: [] });
  assert.equal(await m.replication.claim([room('apstorage')]), []);
  assert.equal(await m.replication.refile([room('apstorage')], '0', 1_000), { last: undefined, moved: 1 });
  const [job] = await m.replication.claim([room('apstorage')]);
  assert.equal([job?.digest, job?.sources.toSorted()], [both, ['apstorage', 'usstorage']]);
  assert.equal(digests(await m.replication.claim([room('usstorage'), room(undefined)])), [onlyUs, nowhere]);
});

test('a look goes through the table in pieces', async () => {
  for (let index = 0; index < 5; index++) await queued({ from: ['usstorage', 'apstorage'] });
  const first = await m.replication.refile([room('apstorage')], '0', 3);
  assert.is(first.moved, 3);
  assert.equal(await m.replication.refile([room('apstorage')], first.last ?? '', 3), { last: undefined, moved: 2 });
});

test('a blob that gets its first placement later is found under it', async () => {
  const digest = await queued({ from: [] });
  await m.db.query(
    `insert into imagestorageplacement (storage_id, location_id) select s.id, l.id
       from imagestorage s, imagestoragelocation l where s.content_checksum = $1 and l.name = 'apstorage'`,
    [digest],
  );
  assert.is((await m.replication.refile([room('apstorage')], '0', 10)).moved, 1);
  assert.equal(digests(await m.replication.claim([room('apstorage')])), [digest]);
});

test('when the next one is due: of these queues, and only of what is not due yet', async () => {
  assert.is(await m.replication.nextDueMs([room('usstorage')]), undefined);
  await queued({ waits: 10 });
  assert.is(await m.replication.nextDueMs([room('usstorage')]), undefined);
  await queued({ waits: -600 });
  await queued({ waits: -60, priority: 100 });
  await queued({ waits: -5, size: SMALL_BLOB_BYTES + 1 });
  const due = await m.replication.nextDueMs([room('usstorage')]);
  assert.ok(due !== undefined && due > 30_000 && due <= 60_000, String(due));
});

test('a try that does not count is not counted', async () => {
  await queued();
  for (const [counts, attempts] of [
    [false, 1],
    [true, 1],
    [true, 2],
  ] as const) {
    const [job] = await m.replication.claim([room('usstorage')]);
    if (!job) throw new Error('not claimed');
    assert.is(job.attempts, attempts);
    await m.replication.postpone(job, 0, 'away', counts);
  }
});

/** Pages that a claim of 10 rows, and a look for the next due one, go through. */
function pages(client: pg.Client): Promise<number> {
  return pagesOf(
    client,
    'select id, at from due_replication($1, $2, $3, $4, $5) d (id), next_replication($1, $2, $3) n (at)',
    [
      ['eustorage', 'eustorage'],
      ['usstorage', 'apstorage'],
      [false, false],
      [10, 10],
      [1e9, 1e9],
    ],
  );
}

test(`a claim costs the same with ${MANY} copies in the queue, whether they are due or not, and whatever is known of them`, async () => {
  const client = await session(m);
  for (let index = 0; index < 20; index++) await queued({ from: ['apstorage'] });
  const before = await pages(client);
  // Without triggers and foreign keys, which are not what is measured.
  await client.query('set session_replication_role = replica');
  const many = (first: number, due: string) =>
    client.query(
      `insert into replication (storage_id, location_id, source_id, size, next_attempt_at)
       select n, l.id, (select id from imagestoragelocation where name = 'usstorage'), 10, now() ${due} interval '1 minute'
         from generate_series($1::bigint, $1 + ${MANY / 2} - 1) n, imagestoragelocation l where l.name = 'eustorage'`,
      [first],
    );
  await many(10_000_000, '+');
  await many(20_000_000, '-');
  const unknown = await pages(client);
  await client.query('analyze replication');
  const known = await pages(client);
  assert.ok(unknown < before + 60 && known < before + 60, `${before}, then ${unknown}, then ${known} pages`);
});

test.run();
