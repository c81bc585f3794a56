/** Copies whose rows go out of the queue while they are made: what stands in the target afterwards is on record. */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import type { Locations } from '../../lib/locations/locations.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import type { Metadata } from '../support/clients.js';
import { eventsOf, imageOf, newDigest, newRepository, pushed, put, queued, requeued } from '../support/rows.js';
import type { Stack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { BOTH, claimCopies, putBlob, startTwoLocations, storeOf } from './copying.js';

const test = suite('worker: copies out of the queue');
let stack: Stack;
let m: Metadata;
let locations: Locations;

test.before(async () => {
  ({ stack, m, locations } = await startTwoLocations());
});
test.before.each(async () => {
  await m.db.query('delete from replication');
  await m.db.query("update locationstate set state = 'active'");
  await m.places.setDefaults(BOTH, true);
  await requeued(m);
  await m.db.query('delete from replication');
});

/** Nobody requires anything in eu any more, and that is done. */
async function requireOnlyUs(): Promise<void> {
  await m.places.setDefaults(['usstorage'], true);
  await requeued(m);
}

/** The locations on record for a blob, and whether its copy there is verified. */
async function recorded(digest: Digest): Promise<string[]> {
  const rows = await m.db.query(
    `select l.name || case when p.verified_at is null then ' unverified' else '' end as place
       from imagestorageplacement p join imagestorage s on s.id = p.storage_id
       join imagestoragelocation l on l.id = p.location_id where s.content_checksum = $1 order by 1`,
    [digest],
  );
  return rows.map(row => String(row.place));
}

test('the requirement goes while the copies are made, small and large: what the target holds is on record', async () => {
  const blobs = [randomBytes(2_000), randomBytes(3_000), randomBytes(3_000_000)];
  for (const data of blobs) await putBlob(m, locations, 'usstorage', data);
  const { copies, jobs } = await claimCopies(m, locations, 'eustorage');
  assert.is(jobs.length, 3);

  const eu = storeOf(locations, 'eustorage');
  const [writeBatch, commit] = [eu.writeBatch.bind(eu), eu.commit.bind(eu)];
  eu.writeBatch = async (...asked) => {
    const results = await writeBatch(...asked);
    await requireOnlyUs();
    return results;
  };
  eu.commit = async (...asked) => {
    const result = await commit(...asked);
    await requireOnlyUs();
    return result;
  };
  try {
    await copies.batch(jobs.filter(job => job.size < 1_000_000));
    for (const job of jobs.filter(each => each.size >= 1_000_000)) await copies.one(job);
  } finally {
    [eu.writeBatch, eu.commit] = [writeBatch, commit];
  }
  assert.equal(await m.db.query('select 1 from replication'), []);
  const digests = blobs.map(data => digestOf(data)).sort();
  assert.equal(await stack.blobsOf('eustorage'), digests);
  for (const digest of digests) assert.equal(await recorded(digest), ['eustorage', 'usstorage']);
});

test('left alone: what the queue has, what is on record already, and what nobody knows', async () => {
  const [waits, marked] = [await pushed(m, newRepository()), await pushed(m, newRepository())];
  const copies = [waits, marked, newDigest()].map(digest => ({ digest, target: 'eustorage' }));
  await m.db.query(
    `with out as (delete from replication where storage_id = (select id from imagestorage where content_checksum = $1))
     insert into imagestorageplacement (storage_id, location_id)
     select s.id, l.id from imagestorage s, imagestoragelocation l where s.content_checksum = $1 and l.name = 'eustorage'`,
    [marked],
  );
  assert.is((await m.replication.recordUnqueued(copies)).size, 0);
  assert.equal(await queued(m, waits), ['eustorage']);
  assert.equal(await recorded(waits), ['usstorage']);
  assert.equal(await recorded(marked), ['eustorage unverified', 'usstorage'], 'it may have turned out to be damaged');
});

test('where a location is being removed: on record while its copies are carried away, not once the records are deleted', async () => {
  const [early, late] = [await pushed(m, newRepository()), await pushed(m, newRepository())];
  const at = (state: string) =>
    m.db.query(
      `update locationstate set state = $1
        where location_id = (select id from imagestoragelocation where name = 'eustorage')`,
      [state],
    );
  await m.db.query('delete from replication');
  const made = (digest: Digest) => m.replication.recordUnqueued([{ digest, target: 'eustorage' }]);
  await at('draining');
  assert.is((await made(early)).size, 1);
  await at('removing');
  assert.is((await made(late)).size, 0);
  assert.equal(await recorded(early), ['eustorage', 'usstorage']);
  assert.equal(await recorded(late), ['usstorage']);
});

test('the same copy twice in one call, and an image that is whole thereby', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo);
  const image = imageOf([digest]);
  await put(m, repo, image, 'v1');
  await m.db.query('delete from replication');
  const copy = { digest, target: 'eustorage' };
  assert.is((await m.replication.recordUnqueued([copy, { ...copy }])).size, 2);
  assert.equal(await eventsOf(m, image), ['v1 eustorage', 'v1 usstorage']);
  assert.is((await m.replication.recordUnqueued([copy])).size, 0);
});

test.run();
