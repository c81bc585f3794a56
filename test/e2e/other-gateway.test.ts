/** An upload is not tied to a gateway: another one, of another region, goes on with it at any point. */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import * as assert from 'uvu/assert';
import { type OciClient, ociClient, sha256 } from '../support/oci-client.js';
import { digestOf, waysToPush } from '../support/pushes.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('two regions: uploads over gateways', { timeoutMs: 60_000 });
const repository = 'over/x';
let stack: Stack;

test.before(async () => {
  stack = await startStack({ parts: ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu'] });
});

function client(base: string): OciClient {
  const made = ociClient(base);
  atEnd(() => made.close());
  return made;
}

/** A client whose requests go to the two regions in turn. */
function inTurn(): OciClient {
  const [us, eu] = [client(stack.us), client(stack.eu)];
  let turn = 0;
  return { ...us, request: (...request) => (turn++ % 2 ? eu : us).request(...request) };
}

test('each request of one upload lands on another gateway; the bytes stay in the region where it began', async () => {
  const ask = inTurn().request;
  const bytes = randomBytes(1_000_000);
  let { location } = (await ask('POST', `/v2/${repository}/blobs/uploads/`)).headers;
  for (let at = 0; at < bytes.length; at += 125_000) {
    const chunk = bytes.subarray(at, at + 125_000);
    const headers = { 'content-range': `${at}-${at + chunk.length - 1}` };
    const patched = await ask('PATCH', location ?? '', { body: chunk, headers });
    assert.is(patched.status, 202, patched.body.toString());
    location = patched.headers.location;
    const status = await ask('GET', location ?? '');
    assert.is(status.headers.range, `0-${at + chunk.length - 1}`);
  }
  const closed = await ask('PUT', `${location}&digest=${sha256(bytes)}`);
  assert.is(closed.status, 201, closed.body.toString());
  assert.equal(await client(stack.eu).pullBlob(repository, sha256(bytes)), bytes);
  assert.equal([await stack.blobsOf('usstorage'), await stack.blobsOf('eustorage')], [[sha256(bytes)], []]);
});

test('an upload that went on elsewhere is closed by an older Location, also where less of it is remembered', async () => {
  const [us, eu] = [client(stack.us), client(stack.eu)];
  for (const first of [0, 1000]) {
    const bytes = randomBytes(3000);
    const { location: begun = '' } = (await us.request('POST', `/v2/${repository}/blobs/uploads/`)).headers;
    const { location: older = '' } = (await us.request('PATCH', begun, { body: bytes.subarray(0, first) })).headers;
    assert.is((await eu.request('PATCH', older, { body: bytes.subarray(first) })).status, 202);
    const closed = await us.request('PUT', `${older}&digest=${sha256(bytes)}`);
    assert.is(closed.status, 201, closed.body.toString());
    assert.equal(await client(stack.eu).pullBlob(repository, sha256(bytes)), bytes);
  }
});

test('every way to push a blob, also with a wrong digest, each request at the other region', async () => {
  const both = inTurn();
  for (const [way, push] of Object.entries(waysToPush)) {
    for (const algorithm of ['sha256', 'sha512']) {
      const bytes = randomBytes(10_000);
      const digest = digestOf(bytes, algorithm);
      const pushed = await push(both, 'over/ways', bytes, digest);
      assert.is(pushed.status, 201, `${way}, ${algorithm}: ${pushed.body}`);
      assert.equal((await both.request('GET', pushed.headers.location ?? '')).body, bytes, way);
      assert.is((await push(both, 'over/ways', randomBytes(10_000), digest)).status, 400, way);
      assert.is((await both.request('DELETE', `/v2/over/ways/blobs/${digest}`)).status, 202, way);
      assert.is((await both.request('HEAD', `/v2/over/ways/blobs/${digest}`)).status, 404, way);
    }
  }
});

test('what is pushed, tagged, attached and deleted in one region is so in the other at once', async () => {
  const both = inTurn();
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const index = (more: object) => Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [], ...more }));
  const body = index({});
  const referrer = index({ subject: { mediaType, digest: sha256(body), size: body.length } });
  const path = (reference: string) => `/v2/over/all/manifests/${reference}`;
  const put = (to: string, bytes: Buffer) =>
    both.request('PUT', path(to), { body: bytes, headers: { 'content-type': mediaType } });
  const attached = async () => {
    const { body: list } = await both.request('GET', `/v2/over/all/referrers/${sha256(body)}`);
    return JSON.parse(list.toString()).manifests.length;
  };
  // An odd number of requests in each round: the next begins in the other region.
  for (let round = 0; round < 6; round++) {
    assert.is((await put(`${sha256(body)}?tag=a&tag=b`, body)).status, 201);
    for (const tag of ['a', 'b']) assert.equal((await both.request('GET', path(tag))).body, body);
    assert.is((await put(sha256(referrer), referrer)).headers['oci-subject'], sha256(body));
    assert.is(await attached(), 1);
    assert.is((await both.request('DELETE', path(sha256(referrer)))).status, 202);
    assert.is(await attached(), 0);
    assert.is((await both.request('DELETE', path('a'))).status, 202);
    assert.is((await both.request('HEAD', path('a'))).status, 404);
    assert.is((await both.request('DELETE', path(sha256(body)))).status, 202);
    assert.is((await both.request('HEAD', path('b'))).status, 404);
  }
});

test('a gateway killed in the middle of a chunk: the other one says how far it got, and goes on', async () => {
  const bytes = randomBytes(60_000_000);
  const { location = '' } = (await client(stack.us).request('POST', `/v2/${repository}/blobs/uploads/`)).headers;
  const socket = connect(stack.ports['gateway-us'], '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes.length}\r\n\r\n`);
  for (let at = 0; at < 40_000_000; at += 1_000_000) {
    await new Promise(resolve => socket.write(bytes.subarray(at, at + 1_000_000), resolve));
  }
  const uuid = /uploads\/([0-9a-f-]{36})/.exec(location)?.[1];
  const recorded = async () => {
    const [row] = await stack.sql('select byte_count::int as n from blobupload where uuid = $1', [uuid]);
    return Number(row?.n);
  };
  assert.ok(await until(async () => (await recorded()) > 8_000_000, 30_000), 'a checkpoint is recorded');
  await stack.kill('gateway-us');
  socket.destroy();

  const eu = client(stack.eu);
  // The dead writer's lease runs out by itself; the test does not wait for that.
  await stack.sql('update blobupload set lease_until = now() where uuid = $1', [uuid]);
  const status = await eu.request('GET', `/v2/${repository}/blobs/uploads/${uuid}`);
  assert.is(status.status, 204);
  const from = Number(/^0-(\d+)$/.exec(String(status.headers.range))?.[1]) + 1;
  assert.ok(from > 8_000_000 && from <= 40_000_000, `the upload has ${from} bytes`);
  const patched = await eu.request('PATCH', status.headers.location ?? '', {
    body: bytes.subarray(from),
    headers: { 'content-range': `${from}-${bytes.length - 1}` },
  });
  assert.is(patched.status, 202, patched.body.toString());
  const closed = await eu.request('PUT', `${patched.headers.location}&digest=${sha256(bytes)}`);
  assert.is(closed.status, 201, closed.body.toString());
  assert.ok((await eu.pullBlob(repository, sha256(bytes))).equals(bytes));
});

test.run();
