/** Pulls of what the region still lacks: streamed at once, and the blob crosses the link once. */
import * as assert from 'uvu/assert';
import { type FarStack, pull, startFarStack } from '../support/far.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: crossings', { timeoutMs: 60_000 });
const MiB = 1024 * 1024;
const repository = 'far/app';
let stack: FarStack;

test.before(async () => {
  stack = await startFarStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'worker-eu', 'gateway-us', 'gateway-eu'],
  });
});
test.before.each(() => stack.setReplicatorIdle(true));

function assertOnce(crossed: number, size: number): void {
  assert.ok(crossed >= size && crossed <= 1.1 * size, `${crossed / size} times the blob crossed`);
}

test('simultaneous pulls, half of them slow: the blob crosses once, arrives whole everywhere, and is stored', async () => {
  const size = 20 * MiB;
  const digest = await stack.push(repository, size);
  const crossed = await stack.crossed(async () => {
    const speed = (index: number) => (index % 2 === 0 ? {} : { bytesPerSecond: 16 * MiB });
    const pulls = Array.from({ length: 10 }, (_, index) => pull(stack.eu, repository, digest, speed(index)));
    for (const got of await Promise.all(pulls)) assert.equal(got, { status: 200, digest, size });
  });
  assertOnce(crossed, size);
  assert.ok(await until(() => stack.hasPlacement(digest), 20_000));
});

test("the worker's own copy is half done: pulls wait for the rest of it, and nothing crosses again", async () => {
  await stack.setReplicatorIdle(false);
  const size = 24 * MiB;
  const link = stack.links.usstorage;
  link.bytesPerSecond = 20 * MiB;
  const crossed = await stack.crossed(async () => {
    const before = link.received;
    const digest = await stack.push(repository, size);
    assert.ok(await until(() => link.received - before > 20 * MiB, 10_000));
    const pulls = Array.from({ length: 4 }, () => pull(stack.eu, repository, digest));
    link.bytesPerSecond = Number.POSITIVE_INFINITY;
    for (const got of await Promise.all(pulls)) assert.equal(got, { status: 200, digest, size });
  });
  assertOnce(crossed, size);
});

test('small blobs too', async () => {
  const size = 300_000;
  const digest = await stack.push(repository, size);
  const crossed = await stack.crossed(async () => {
    const pulls = Array.from({ length: 8 }, () => pull(stack.eu, repository, digest));
    for (const got of await Promise.all(pulls)) assert.equal(got, { status: 200, digest, size });
  });
  assertOnce(crossed, size);
  assert.ok(await until(() => stack.hasPlacement(digest), 20_000));
});

test('a client that goes away leaves the copy alone', async () => {
  const digest = await stack.push(repository, 8 * MiB);
  assert.ok((await pull(stack.eu, repository, digest, { leaveAfter: 1 })).size < 8 * MiB);
  assert.ok(await until(() => stack.hasPlacement(digest), 20_000));
});

test('a part of a blob is answered at once, and fills the location as well', async () => {
  const size = 8 * MiB;
  const digest = await stack.push(repository, size);
  const range = `bytes=${5 * MiB}-${6 * MiB - 1}`;
  const got = await pull(stack.eu, repository, digest, { range });
  assert.equal([got.status, got.size], [206, MiB]);
  assert.ok(await until(() => stack.hasPlacement(digest), 20_000));
  assert.equal(await pull(stack.eu, repository, digest, { range }), got);
});

test('what need not be in the region is read through, and not stored there', async () => {
  await stack.sql(`select set_namespace_locations('home', array['usstorage'], true, true)`);
  const size = 3 * MiB;
  const digest = await stack.push('home/app', size);
  for (let round = 0; round < 2; round++) {
    const crossed = await stack.crossed(async () => {
      assert.equal(await pull(stack.eu, 'home/app', digest), { status: 200, digest, size });
    });
    assertOnce(crossed, size);
  }
  assert.not((await stack.blobsOf('eustorage')).includes(digest));
});

test('without a worker each pull crosses by itself', async () => {
  await stack.kill('worker-eu');
  const size = 3 * MiB;
  const digest = await stack.push(repository, size);
  const crossed = await stack.crossed(async () => {
    const pulls = Array.from({ length: 3 }, () => pull(stack.eu, repository, digest));
    for (const got of await Promise.all(pulls)) assert.equal(got, { status: 200, digest, size });
  });
  assert.ok(crossed >= 3 * size, `${crossed / size} times the blob crossed`);
  assert.not((await stack.blobsOf('eustorage')).includes(digest));
});

test.run();
