/** A bucket that another registry has written to, at a real store: taken over, and verified where it is. */
import { randomBytes } from 'node:crypto';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import * as assert from 'uvu/assert';
import { Locations } from '../../lib/locations/locations.js';
import { type Digest, digestOf, hexOf } from '../../lib/oci/digest.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { AdoptLocationResponse__Output } from '../../proto/generated/entrepot/admin/v1/AdoptLocationResponse.js';
import type { VerifyLocationResponse__Output } from '../../proto/generated/entrepot/admin/v1/VerifyLocationResponse.js';
import { CEPH_NEEDS, startCeph } from '../stores/ceph.js';
import { makeBucket, type TestBucket } from '../stores/store.js';
import { read, startAdmin } from '../support/admin.js';
import { freshMetadata, type Metadata, quiet } from '../support/clients.js';
import { atEnd, suite } from '../support/suite.js';
import { startNode } from './node.js';

const test = suite('Ceph: taking a bucket over', { needs: CEPH_NEEDS, timeoutMs: 90_000 });
let bucket: TestBucket;
let m: Metadata;
let admin: AdminClient;

test.before(async () => {
  bucket = await makeBucket(await startCeph());
  atEnd(() => bucket.client.destroy());
  const node = await startNode({ bucket });
  m = await freshMetadata();
  const locations = new Locations({
    locations: [{ name: 'usstorage', nodes: [node.address] }],
    preference: ['usstorage'],
    identify: m.places.identify,
    log: quiet,
  });
  atEnd(() => locations.close());
  await locations.settle(10_000);
  admin = await startAdmin(m, { locations });
});

async function put(key: string, body: Buffer): Promise<void> {
  await bucket.client.send(
    new PutObjectCommand({ Bucket: bucket.name, Key: `datastorage/registry/${key}`, Body: body }),
  );
}

async function blob(body: Buffer, digest = digestOf(body)): Promise<Digest> {
  await put(`sha256/${hexOf(digest).slice(0, 2)}/${hexOf(digest)}`, body);
  return digest;
}

test('what is there is recorded with its size; hashed in its region, the good ones count', async () => {
  const good = [await blob(randomBytes(1_000)), await blob(randomBytes(6_000_000)), await blob(Buffer.alloc(0))];
  const bad = await blob(randomBytes(10), digestOf(randomBytes(10)));
  await put('userfiles/logo.png', randomBytes(10));
  const adopted = await read<AdoptLocationResponse__Output>(admin.adoptLocation({ location: 'usstorage' }));
  assert.equal(adopted.at(-1)?.progress, {
    ...{ objects: 4, adopted: 4, known: 0, conflicts: 0, bytes: 6_001_010, done: true },
  });
  const verified = await read<VerifyLocationResponse__Output>(
    admin.verifyLocation({ location: 'usstorage', depth: 'VERIFY_DEPTH_DIGEST' }),
  );
  assert.equal(
    verified.flatMap(({ finding }) => (finding ? [`${finding.kind} ${finding.digest}`] : [])),
    [`FINDING_KIND_CORRUPT ${bad}`],
  );
  assert.is(verified.at(-1)?.progress?.newlyVerified, 3);
  assert.ok(verified.at(-1)?.progress?.done);
  const rows = await m.db.query(
    `select s.content_checksum as digest from imagestorageplacement p join imagestorage s on s.id = p.storage_id
      where p.verified_at is not null order by 1`,
  );
  assert.equal(
    rows.map(({ digest }) => digest),
    good.toSorted(),
  );
});

test.run();
