/** A storage-proxy that dies in the middle of a push, and is back soon: the client sees nothing of it. */
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { ociClient, sha256 } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('two regions: hidden deaths', { timeoutMs: 60_000 });
let stack: Stack;

test.before(async () => {
  stack = await startStack({ parts: ['storage-proxy-us', 'gateway-us'] });
});

/** Sends the bytes in pieces, and runs `meanwhile` once, when half of them are sent. */
async function* halting(bytes: Buffer, meanwhile: () => Promise<void>): AsyncGenerator<Buffer> {
  const piece = 500_000;
  for (let at = 0; at < bytes.length; at += piece) {
    yield bytes.subarray(at, at + piece);
    await sleep(5);
    if (at <= bytes.length / 2 && at + piece > bytes.length / 2) await meanwhile();
  }
}

for (const method of ['PATCH', 'PUT', 'POST'] as const) {
  test(`kill -9 in the middle of ${method}`, async () => {
    const client = ociClient(stack.us);
    atEnd(() => client.close());
    const bytes = randomBytes(40_000_000);
    const digest = sha256(bytes);
    let back: Promise<unknown> = Promise.resolve();
    const body = Readable.from(
      halting(bytes, async () => {
        await stack.kill('storage-proxy-us');
        back = sleep(500).then(() => stack.start('storage-proxy-us'));
      }),
      { objectMode: false },
    );
    let answer: Awaited<ReturnType<typeof client.request>>;
    if (method === 'POST') {
      answer = await client.request('POST', `/v2/hidden/x/blobs/uploads/?digest=${digest}`, { body });
    } else {
      const begun = await client.request('POST', '/v2/hidden/x/blobs/uploads/');
      const at = begun.headers.location ?? '';
      const closing = (location: string) => `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
      if (method === 'PUT') {
        answer = await client.request('PUT', closing(at), { body });
      } else {
        const patched = await client.request('PATCH', at, { body });
        assert.is(patched.status, 202, patched.body.toString());
        answer = await client.request('PUT', closing(patched.headers.location ?? ''));
      }
    }
    await back;
    assert.is(answer.status, 201, answer.body.toString());
    const got = await client.pullBlob('hidden/x', digest);
    assert.ok(got.equals(bytes));
  });
}

test('kill -9 between the bytes and the closing PUT', async () => {
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  const begun = await client.request('POST', '/v2/hidden/y/blobs/uploads/');
  const bytes = randomBytes(1_000_000);
  const patched = await client.request('PATCH', begun.headers.location ?? '', { body: bytes });
  await stack.kill('storage-proxy-us');
  const back = sleep(500).then(() => stack.start('storage-proxy-us'));
  const closed = await client.request('PUT', `${patched.headers.location}&digest=${sha256(bytes)}`);
  await back;
  assert.is(closed.status, 201, closed.body.toString());
  assert.ok((await client.pullBlob('hidden/y', sha256(bytes))).equals(bytes));
});

test.run();
