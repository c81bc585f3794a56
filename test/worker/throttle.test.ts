/** The token bucket. Times are bounded from below exactly, from above generously. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Throttle } from '../../worker/replicate/throttle.js';
import { suite } from '../support/suite.js';

const test = suite('worker: throttle');
const never = new AbortController().signal;
const MiB = 1024 * 1024;

function limited(bytesPerSecond: number | undefined): Throttle {
  const throttle = new Throttle();
  throttle.limit = bytesPerSecond;
  return throttle;
}
async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1_000;
}
async function* pieces(count: number, bytes: number): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(bytes);
  for (let index = 0; index < count; index++) yield piece;
}
async function drain(source: AsyncIterable<Buffer>): Promise<number> {
  let bytes = 0;
  for await (const piece of source) bytes += piece.length;
  return bytes;
}

test('without a limit nothing waits', async () => {
  const took = await seconds(() => drain(limited(undefined).meter(pieces(1_000, MiB), never)));
  assert.ok(took < 10, `${took} s`);
});

test('two readers together keep to the limit, and both get on', async () => {
  const throttle = limited(4 * MiB);
  let first = 0;
  let second = 0;
  const took = await seconds(async () => {
    [first, second] = await Promise.all([
      drain(throttle.meter(pieces(32, MiB / 8), never)),
      drain(throttle.meter(pieces(32, MiB / 8), never)),
    ]);
  });
  assert.equal([first, second], [4 * MiB, 4 * MiB]);
  assert.ok(took >= 1.7, `8 MiB at 4 MiB/s took ${took} s`);
  assert.ok(took < 10, `${took} s`);
});

test('a piece larger than the limit gets through, and is paid off afterwards', async () => {
  const throttle = limited(1_000);
  const both = await seconds(async () => {
    assert.ok((await seconds(() => throttle.take(2_000, never))) < 1.5);
    await throttle.take(1, never);
  });
  assert.ok(both >= 1.7, `${both} s`);
});

test('a new limit counts at once for those who wait', async () => {
  const throttle = limited(1);
  await throttle.take(1_000, never);
  const waiting = Promise.all([throttle.take(1, never), throttle.take(1, never)]);
  setTimeout(() => {
    throttle.limit = undefined;
  }, 200);
  assert.ok((await seconds(() => waiting)) < 5);
});

test('who gives up leaves the queue at once, and nobody behind gets past those before', async () => {
  const throttle = limited(1);
  await throttle.take(1_000, never);
  const order: string[] = [];
  const impatient = new AbortController();
  const before = throttle.take(0, never).then(() => order.push('before'));
  const given = throttle.take(1_000_000, impatient.signal).catch(() => order.push('gave up'));
  const behind = throttle.take(0, never).then(() => order.push('behind'));
  impatient.abort();
  await given;
  throttle.limit = undefined;
  await Promise.all([before, behind]);
  assert.equal(order, ['gave up', 'before', 'behind']);
});

test('a reader that stops early waits no longer, and ends its source', async () => {
  const throttle = limited(1);
  let ended = false;
  async function* endless(): AsyncGenerator<Buffer> {
    try {
      while (true) yield Buffer.alloc(1_000);
    } finally {
      ended = true;
    }
  }
  const reader = throttle.meter(endless(), never)[Symbol.asyncIterator]();
  await reader.next();
  const second = reader.next().catch(() => 'over');
  await sleep(20);
  await reader.return?.();
  assert.is(await second, 'over');
  assert.ok(ended);
});

test.run();
