/** A write quorum of two in two regions: what is acknowledged survives the loss of a region; what is not can be pushed again. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { imageManifestType, type OciClient, ociClient, sha256 } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('two regions: write quorum', { timeoutMs: 60_000 });
let stack: Stack;
let us: OciClient;
let eu: OciClient;

test.before(async () => {
  stack = await startStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu', 'worker-eu'],
    config: { ENTREPOT_WRITE_QUORUM: 2, ENTREPOT_WRITE_QUORUM_SECONDS: 2 },
  });
  [us, eu] = [ociClient(stack.us), ociClient(stack.eu)];
  for (const client of [us, eu]) atEnd(() => client.close());
});

const exists = async (client: OciClient, path: string) => (await client.request('HEAD', path)).status === 200;

/** Pushes the blobs of an image to us; answers how to push its manifest. */
async function withBlobs(name: string, sizes: readonly number[]) {
  const blobs = sizes.map(size => randomBytes(size));
  const digests = await Promise.all(blobs.map(bytes => us.pushBlob(name, bytes)));
  const [config, ...layers] = digests.map((digest, n) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest,
    size: sizes[n],
  }));
  const body = JSON.stringify({ schemaVersion: 2, mediaType: imageManifestType, config, layers });
  const headers = { 'content-type': imageManifestType };
  const push = (reference: string, signal?: AbortSignal) =>
    us.request('PUT', `/v2/${name}/manifests/${reference}`, { body, headers, ...(signal ? { signal } : {}) });
  return { digests, push, digest: sha256(Buffer.from(body)) };
}

test('a push is acknowledged when both regions have all of it: the first may be lost right then', async () => {
  const { digests, push } = await withBlobs('safe/app', [300, 3_000_000, 20_000]);
  assert.is((await push('v1')).status, 201);
  await stack.kill('storage-proxy-us');
  const there = await stack.blobsOf('eustorage');
  for (const digest of digests) assert.ok(there.includes(digest));
  await eu.pullManifest('safe/app', 'v1');
  for (const digest of digests) assert.is(sha256(await eu.pullBlob('safe/app', digest)), digest);
  await stack.start('storage-proxy-us');
});

test('the other region is away: 503 with what is missing where, no tag; once it is back, the same push succeeds', async () => {
  await stack.kill('storage-proxy-eu');
  const { digests, push, digest } = await withBlobs('late/app', [400, 50_000]);
  for (const reference of ['v1', digest]) {
    const answer = await push(reference);
    assert.is(answer.status, 503);
    assert.ok(Number(answer.headers['retry-after']) > 0);
    const [error] = JSON.parse(answer.body.toString()).errors;
    assert.is(error.code, 'UNAVAILABLE');
    for (const each of digests) assert.match(error.message, `${each} is not in eustorage`);
    assert.equal(error.detail.blobs[0].lacking, ['eustorage']);
  }
  assert.not(await exists(us, '/v2/late/app/manifests/v1'));
  // The copies go on without anybody who asks, so that the next push finds them made.
  await stack.start('storage-proxy-eu');
  await stack.replicated(30_000);
  assert.not(await exists(us, '/v2/late/app/manifests/v1'), 'nothing is tagged by itself');
  assert.is((await push('v1')).status, 201);
  assert.ok(await exists(eu, '/v2/late/app/manifests/v1'));
  for (const each of digests) assert.ok((await stack.blobsOf('eustorage')).includes(each));
});

test('a client that goes away ends the wait: nothing is tagged later', async () => {
  await stack.kill('worker-eu');
  const { push } = await withBlobs('gone/app', [500]);
  const gone = new AbortController();
  const answer = push('v1', gone.signal).catch(error => error);
  await sleep(300);
  gone.abort();
  assert.instance(await answer, Error);
  await sleep(300);
  await stack.start('worker-eu');
  await stack.replicated();
  await sleep(1_000);
  assert.not(await exists(us, '/v2/gone/app/manifests/v1'));
});

test.run();
