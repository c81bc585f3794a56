/**
 * Constant memory: a 2 GiB layer pushed, replicated and pulled, and twenty slow readers at once. The peak of each
 * process is what the kernel saw (VmHWM), so nothing is missed between samples.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { get, request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { ociClient } from '../support/oci-client.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('memory', { timeoutMs: 300_000, fileTimeoutMs: 320_000 });
const GIB = 1024 ** 3;
const LAYER_BYTES = 2 * GIB;
const LIMIT_BYTES = 300 * 1024 ** 2;
const READERS = 20;
const READER_BYTES_PER_SECOND = 200_000;
const READING_MS = 15_000;
const PARTS: PartName[] = [
  'gateway-us',
  'gateway-eu',
  'storage-proxy-us',
  'storage-proxy-eu',
  'worker-us',
  'worker-eu',
];
const repository = 'memory/big';
let stack: Stack;
let digest: string;

test.before(async () => {
  stack = await startStack();
});

/** Bytes that do not compress and cost nothing to make: a key stream in the counter mode. */
function* layer(): Generator<Buffer> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16));
  const zeroes = Buffer.alloc(1024 * 1024);
  for (let at = 0; at < LAYER_BYTES; at += zeroes.length) yield cipher.update(zeroes);
}

async function pulled(base: string): Promise<string> {
  const hash = createHash('sha256');
  await new Promise<void>((resolve, reject) => {
    get(`${base}/v2/${repository}/blobs/${digest}`, response => {
      pipeline(
        response,
        async function* (source: AsyncIterable<Buffer>) {
          for await (const piece of source) hash.update(piece);
          yield '';
        },
        async source => {
          for await (const _ of source);
        },
      ).then(resolve, reject);
    }).on('error', reject);
  });
  return `sha256:${hash.digest('hex')}`;
}

/** Reads at a fixed speed for a while, then goes away. Resolves to the bytes that it got. */
function readSlowly(base: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const ends = Date.now() + READING_MS;
    const sent = request(`${base}/v2/${repository}/blobs/${digest}`, { agent: false }, async response => {
      let got = 0;
      response.on('error', () => {});
      while (Date.now() < ends) {
        await sleep(100);
        got += (response.read(READER_BYTES_PER_SECOND / 10) as Buffer | null)?.length ?? 0;
      }
      response.destroy();
      resolve(got);
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function peakBytes(name: PartName): Promise<number> {
  const status = await readFile(`/proc/${stack.part(name).pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

async function report(what: string): Promise<void> {
  const peaks = await Promise.all(PARTS.map(async name => ({ name, bytes: await peakBytes(name) })));
  console.log(`${what}: ${peaks.map(({ name, bytes }) => `${name} ${Math.round(bytes / 1024 ** 2)} MiB`).join(', ')}`);
  for (const { name, bytes } of peaks)
    assert.ok(bytes < LIMIT_BYTES, `${name} reached ${Math.round(bytes / 1024 ** 2)} MiB`);
}

test('a layer of 2 GiB is pushed, replicated and pulled from both regions', async () => {
  const hash = createHash('sha256');
  for (const piece of layer()) hash.update(piece);
  digest = `sha256:${hash.digest('hex')}`;
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  const begun = await client.request('POST', `/v2/${repository}/blobs/uploads/`);
  const patched = await client.request('PATCH', begun.headers.location ?? '', {
    headers: { 'content-type': 'application/octet-stream' },
    body: Readable.from(layer(), { objectMode: false }),
  });
  assert.is(patched.status, 202, patched.body.toString());
  const location = patched.headers.location ?? '';
  const closed = await client.request('PUT', `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`);
  assert.is(closed.status, 201, closed.body.toString());
  await report('pushed');
  await stack.replicated(120_000);
  await report('replicated');
  assert.is(await pulled(stack.us), digest);
  assert.is(await pulled(stack.eu), digest);
  await report('pulled');
});

test('twenty slow readers, half of them from the other region', async () => {
  const got = await Promise.all(
    Array.from({ length: READERS }, (_, index) => readSlowly(index % 2 ? stack.us : stack.eu)),
  );
  for (const bytes of got) assert.ok(bytes > READER_BYTES_PER_SECOND, 'a slow reader got nearly nothing');
  await report('slow readers');
});

test('twenty slow readers whose blob is only in the other region', async () => {
  await stack.sql(
    "delete from imagestorageplacement where location_id = (select id from imagestoragelocation where name = 'eustorage')",
  );
  const got = await Promise.all(Array.from({ length: READERS }, () => readSlowly(stack.eu)));
  for (const bytes of got) assert.ok(bytes > READER_BYTES_PER_SECOND, 'a slow reader got nearly nothing');
  await report('slow readers from afar');
});

test.run();
