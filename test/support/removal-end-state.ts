/** What must be so when a location was removed: the database against the disk of the location that stays. */
import * as assert from 'uvu/assert';
import type { Stack } from './stack.js';

/** Nothing is left of `removed`, and `stays` has every blob of the images, on record and on its disk. */
export async function nothingIsLeftOf(
  { sql, blobsOf }: Stack,
  removed: string,
  stays: string,
  images: readonly { readonly tag: string; readonly blobs: readonly string[] }[],
): Promise<void> {
  assert.equal(await sql('select name from imagestoragelocation'), [{ name: stays }]);
  assert.equal(await sql('select name from removedlocation'), [{ name: removed }]);
  for (const table of ['replication', 'requeue', 'pendingimage', 'locationwork'])
    assert.equal(await sql(`select * from ${table}`), [], `no row is left in ${table}`);
  const rows = await sql(
    `select s.content_checksum as digest from imagestorageplacement p join imagestorage s on s.id = p.storage_id
      where p.verified_at is not null`,
  );
  const placed = new Set(rows.map(row => String(row.digest)));
  const stored = new Set(await blobsOf(stays));
  for (const digest of placed) assert.ok(stored.has(digest), `${digest} is on record in ${stays}, and there`);
  for (const { tag, blobs } of images)
    for (const blob of blobs) assert.ok(placed.has(blob), `${blob} of ${tag} is in ${stays}`);
  const [sum] = await sql('select blobs::int, unverified::int, missing::int from locationsum');
  assert.equal(sum, { blobs: placed.size, unverified: 0, missing: 0 }, 'the counts are exact');
}
