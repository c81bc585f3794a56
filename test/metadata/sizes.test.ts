/** A blob's size on record: what was hashed says it, whatever a damaged object that was taken over had. */
import * as assert from 'uvu/assert';
import { Adoption } from '../../lib/metadata/adoption.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { emptied, newDigest, newRepository, pushed } from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: sizes');
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});
test.before.each(() => emptied(m));

const counts = () =>
  m.db.query(
    `select l.name, c.blobs::int, c.bytes::int, c.missing::int, c.missing_bytes::int
       from locationsum c join imagestoragelocation l on l.id = c.location_id order by l.name`,
  );

for (const location of ['usstorage', 'eustorage']) {
  test(`a push, to ${location}, of what was taken over with another size elsewhere is what it is`, async () => {
    const digest = newDigest();
    await new Adoption(m.db).adopt('eustorage', [{ digest, size: 3 }], false);
    const repo = newRepository();
    await pushed(m, repo, location, digest);
    assert.is((await m.blobs.find(repo, digest)).blob?.size, 7);
    const other = location === 'usstorage' ? 'eustorage' : 'usstorage';
    const adopted = location === 'usstorage' ? { blobs: 1, bytes: 7 } : { blobs: 0, bytes: 0 };
    assert.equal(
      await counts(),
      [
        { name: location, blobs: 1, bytes: 7, missing: 0, missing_bytes: 0 },
        { name: other, ...adopted, missing: 1, missing_bytes: 7 },
      ].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    );
  });
}

test('what was queued with the wrong size is queued with the right one', async () => {
  const digest = newDigest();
  const mounted = newRepository();
  await new Adoption(m.db).adopt('eustorage', [{ digest, size: 3_000_000 }], false);
  assert.ok(await m.blobs.mount({ repository: mounted, digest, from: { names: [], prefixes: [''] }, traceId: '' }));
  const rows = () => m.db.query('select size::int, large from replication order by location_id');
  assert.equal(await rows(), Array(2).fill({ size: 3_000_000, large: true }));
  await pushed(m, newRepository(), 'usstorage', digest);
  assert.equal(await rows(), [{ size: 7, large: false }]);
  assert.equal(await counts(), [
    { name: 'eustorage', blobs: 1, bytes: 7, missing: 1, missing_bytes: 7 },
    { name: 'usstorage', blobs: 1, bytes: 7, missing: 0, missing_bytes: 0 },
  ]);
});

test.run();
