/** A blob whose only copies turned out to be missing or damaged is to be sent again: nobody is told that it is here. */
import * as assert from 'uvu/assert';
import { Adoption } from '../../lib/metadata/adoption.js';
import { Verification } from '../../lib/metadata/verification.js';
import type { Digest } from '../../lib/oci/digest.js';
import type { RepositoryName } from '../../lib/oci/name.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { copied, emptied, newDigest, newRepository, pushed } from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: lost blobs');
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});
test.before.each(() => emptied(m));

const isLost = async (repo: RepositoryName, digest: Digest) => (await m.blobs.find(repo, digest)).blob?.isLost;
const mounted = async (from: RepositoryName, digest: Digest) =>
  (await m.blobs.mount({ repository: newRepository(), digest, from, traceId: '' })) !== undefined;
const lost = async (repo: RepositoryName) => {
  const digest = await pushed(m, repo);
  assert.is(await isLost(repo, digest), false);
  assert.not(await m.replication.distrust(digest, 'usstorage', 'it is not in the store'));
  assert.is(await isLost(repo, digest), true);
  assert.not(await mounted(repo, digest));
  return digest;
};

test('a push of it, to either location, mends it', async () => {
  for (const location of ['usstorage', 'eustorage']) {
    const repo = newRepository();
    const digest = await lost(repo);
    await pushed(m, repo, location, digest);
    assert.is(await isLost(repo, digest), false);
    assert.ok(await mounted(repo, digest));
  }
});

test('a verification that finds it again mends it', async () => {
  const repo = newRepository();
  const digest = await lost(repo);
  assert.ok(await new Verification(m.db).noteVerified('usstorage', digest));
  assert.is(await isLost(repo, digest), false);
});

test('a copy of it that is made again mends it', async () => {
  const repo = newRepository();
  const digest = await lost(repo);
  await copied(m, 'usstorage', [digest]);
  assert.is(await isLost(repo, digest), false);
});

test('what another location has, though not verified, is not lost', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo);
  await new Adoption(m.db).adopt('eustorage', [{ digest, size: 7 }], false);
  assert.not(await m.replication.distrust(digest, 'usstorage', 'damaged'));
  assert.is(await isLost(repo, digest), false);
  await m.replication.distrust(digest, 'eustorage', 'damaged');
  assert.is(await isLost(repo, digest), true);
});

test('what was taken over, and nobody has looked at, is not lost', async () => {
  const digest = newDigest();
  const repo = newRepository();
  await new Adoption(m.db).adopt('usstorage', [{ digest, size: 7 }], false);
  assert.ok(await m.blobs.mount({ repository: repo, digest, from: { names: [], prefixes: [''] }, traceId: '' }));
  assert.is(await isLost(repo, digest), false);
});

test.run();
