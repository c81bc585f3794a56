/** An upload is not tied to a gateway: another one, of another region, goes on with it at any point. */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type OciClient, ociClient, sha256 } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

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

test('each request of one upload lands on another gateway; the bytes stay in the region where it began', async () => {
  const gateways = [client(stack.us), client(stack.eu)];
  const bytes = randomBytes(1_000_000);
  let turn = 0;
  const ask: OciClient['request'] = (...request) => (gateways[turn++ % 2] as OciClient).request(...request);
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

test('a gateway killed in the middle of a chunk: the other one says how far it got, and goes on', async () => {
  const bytes = randomBytes(60_000_000);
  const { location = '' } = (await client(stack.us).request('POST', `/v2/${repository}/blobs/uploads/`)).headers;
  const socket = connect(stack.ports['gateway-us'], '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes.length}\r\n\r\n`);
  for (let at = 0; at < 40_000_000; at += 1_000_000) {
    await new Promise(resolve => socket.write(bytes.subarray(at, at + 1_000_000), resolve));
  }
  // Long enough for the gateway to record a checkpoint.
  await sleep(6_000);
  await stack.kill('gateway-us');
  socket.destroy();

  const eu = client(stack.eu);
  const uuid = /uploads\/([0-9a-f-]{36})/.exec(location)?.[1];
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
