/** What queues copies costs the same however many blobs there are, whatever the planner knows of them. */
import type pg from 'pg';
import * as assert from 'uvu/assert';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { assertSameCosts, pagesOf, plannerKnowledge } from '../support/costs.js';
import { session } from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: what queueing costs');
const [FEW, MANY, PIECE] = [1_500, 9_000, 100];
const TABLES = ['imagestorage', 'imagestorageplacement', 'uploadedblob', 'manifestblob', 'replication'];

let m: Metadata;
let client: pg.Client;

test.before(async () => {
  m = await freshMetadata();
  client = await session(m);
  // What is known of these tables is what this test lets be known.
  for (const table of TABLES) await client.query(`alter table ${table} set (autovacuum_enabled = false)`);
  await client.query(`select repository_id('team', 'app')`);
  await m.places.register(['apstorage']);
  await m.places.setDefaults(['usstorage', 'eustorage', 'apstorage'], true);
  await m.db.query('delete from requeue where id <> (select max(id) from requeue)');
});

/** Blobs up to so many: of one repository, in usstorage, and queued to eustorage. Without triggers and foreign keys. */
async function filled(upTo: number): Promise<void> {
  await client.query('set session_replication_role = replica');
  const blobs = 'generate_series((select coalesce(max(id), 0) + 1 from imagestorage), $1::bigint) n';
  await client.query(
    `with blob as (
       insert into imagestorage (id, content_checksum, image_size) select n, 'sha256:' || n, 7 from ${blobs} returning id),
     placed as (
       insert into imagestorageplacement (storage_id, location_id, verified_at)
       select blob.id, l.id, now() from blob, imagestoragelocation l where l.name = 'usstorage'),
     linked as (
       insert into uploadedblob (repository_id, blob_id, expires_at)
       select (select min(id) from repository), id, now() from blob)
     insert into replication (storage_id, location_id, size, source_id)
     select blob.id, l.id, 7, 1 from blob, imagestoragelocation l where l.name = 'eustorage'`,
    [upTo],
  );
  await client.query('reset session_replication_role');
  await m.db.query('update requeue set after_blob = $1', [upTo - PIECE]);
}

/** What is measured: a statement at the end of so many blobs, and how many copies it queues. */
const STATEMENTS = {
  'a piece of a change of the locations': {
    at: () => `select requeue_some(${PIECE})`,
    queues: 2 * PIECE,
  },
  'a piece of a backfill': {
    at: (blobs: number) => `select backfill_some(${blobs - PIECE}, ${PIECE}, null, null, false, false)`,
    queues: 2 * PIECE,
  },
  'a piece of a backfill of one namespace': {
    at: (blobs: number) =>
      `select backfill_some(${blobs - PIECE}, ${PIECE}, (select min(id) from "user"), null, false, false)`,
    queues: 2 * PIECE,
  },
} as const;

/** What each statement costs after so many blobs. */
async function costs(blobs: number): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const [name, { at }] of Object.entries(STATEMENTS)) found.set(name, await pagesOf(client, at(blobs)));
  return found;
}

async function copies(): Promise<number> {
  return (await client.query('select count(*)::int as n from replication')).rows[0].n;
}

for (const [known, at] of plannerKnowledge(FEW, MANY)) {
  test(`queueing costs the same with ${FEW} blobs and with ${MANY}: ${known}`, async () => {
    // Nothing is known of what is truncated.
    await client.query('truncate imagestorage cascade');
    if (at === 0) await client.query(`vacuum analyze ${TABLES.join()}`);
    await filled(FEW);
    if (at === FEW) await client.query(`analyze ${TABLES.join()}`);
    const few = await costs(FEW);
    await filled(MANY);
    if (at === MANY) await client.query(`analyze ${TABLES.join()}`);
    const many = await costs(MANY);
    assertSameCosts(few, many);
  });
}

test('and it queues what it should', async () => {
  for (const [name, { at, queues }] of Object.entries(STATEMENTS)) {
    await client.query(`delete from replication where storage_id > $1`, [MANY - PIECE]);
    const before = await copies();
    await client.query(at(MANY));
    assert.is((await copies()) - before, queues, name);
    await m.db.query('update requeue set after_blob = $1', [MANY - PIECE]);
  }
});

test.run();
