/** What followers of one crossing hear, whatever their pace, and what it keeps in memory. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Crossing, type News, TICK_MS } from '../../worker/crossing/crossing.js';
import { Ring, RingMemory } from '../../worker/crossing/ring.js';
import { Traffic } from '../../worker/crossing/traffic.js';
import { collect } from '../support/bytes.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: followers of a crossing');
const MiB = 1024 * 1024;
const never = new AbortController().signal;

function crossingOf(size: number, traffic?: Traffic): Crossing {
  const crossing = new Crossing(size, new RingMemory(), traffic);
  const ticking = setInterval(() => crossing.tick(), TICK_MS);
  atEnd(() => clearInterval(ticking));
  return crossing;
}
/** Pieces of a blob from `at` on, each when it is asked for. */
async function* pieces(blob: Buffer, at = 0, pauseMs = 0): AsyncGenerator<Buffer> {
  for (; at < blob.length; at += 100_000) {
    if (pauseMs > 0) await sleep(pauseMs);
    yield blob.subarray(at, at + 100_000);
  }
}
/** All that a follower gets, and why there was no more. */
async function follow(crossing: Crossing, offset: number, limit: number, patienceMs = 10_000) {
  const got: Buffer[] = [];
  let last: News | undefined;
  for await (last of crossing.follow({ offset, limit, patienceMs }, never)) {
    if (last.kind === 'data') got.push(last.data);
  }
  return { bytes: Buffer.concat(got), end: last?.kind };
}

test('followers get the bytes while they come, from where they want', async () => {
  const blob = randomBytes(2 * MiB);
  const crossing = crossingOf(blob.length);
  const [whole, part] = [follow(crossing, 0, blob.length), follow(crossing, MiB + 7, 500_000)];
  assert.equal(await collect(crossing.through(0, async at => pieces(blob, at, 5))), blob);
  assert.equal(await whole, { bytes: blob, end: 'data' });
  assert.equal((await part).bytes, blob.subarray(MiB + 7, MiB + 7 + 500_000));
});

test('who falls behind waits until the blob is stored, and says meanwhile that it waits', async () => {
  const blob = randomBytes(24 * MiB);
  const crossing = crossingOf(blob.length);
  await collect(crossing.through(0, async at => pieces(blob, at)));
  const heard: string[] = [];
  const late = (async () => {
    for await (const { kind } of crossing.follow({ offset: 0, limit: blob.length, patienceMs: 10_000 }, never))
      heard.push(kind);
  })();
  assert.ok(await until(() => heard.length > 1, 20_000));
  crossing.settle({ kind: 'stored' });
  await late;
  assert.is(heard.at(-1), 'stored');
  assert.ok(heard.length > 1 && heard.slice(0, -1).every(kind => kind === 'waiting'), heard.join());
});

test('who would have to wait for longer than it likes is told at once', async () => {
  const blob = randomBytes(40 * MiB);
  const crossing = crossingOf(blob.length);
  // 1 MB/s at the most: it would take 40 seconds.
  let pauseMs = 100;
  async function* slowly(at: number): AsyncGenerator<Buffer> {
    for await (const piece of pieces(blob, at)) {
      if (pauseMs > 0) await sleep(pauseMs);
      yield piece;
    }
  }
  const copying = collect(crossing.through(0, async at => slowly(at)));
  await sleep(500);
  const began = performance.now();
  assert.equal(await follow(crossing, 39 * MiB, MiB, 10_000), { bytes: Buffer.alloc(0), end: 'behind' });
  assert.ok(performance.now() - began < 8_000);
  pauseMs = 0;
  crossing.settle({ kind: 'failed' });
  await copying;
  crossing.settle({ kind: 'failed' });
});

test('when nothing comes, one follower leaves, and the others only when their patience is over', async () => {
  const blob = randomBytes(MiB);
  const crossing = crossingOf(blob.length);
  const gone: number[] = [];
  const followers = [60_000, 60_000, 60_000, 7_000].map(async (patienceMs, who) => {
    const got = await follow(crossing, 0, blob.length, patienceMs);
    if (got.end === 'behind') gone.push(who);
    return got;
  });
  assert.ok(await until(() => gone.length > 0, 20_000));
  assert.equal(gone, [0]);
  assert.ok(await until(() => gone.length > 1, 20_000));
  assert.equal(gone, [0, 3]);
  await collect(crossing.through(0, async at => pieces(blob, at)));
  for (const who of [1, 2]) assert.equal(await followers[who], { bytes: blob, end: 'data' });
});

test('when nothing comes, but others get bytes, nobody leaves before its patience is over', async () => {
  class Flowing extends Traffic {
    override get isFlowing() {
      return true;
    }
  }
  const crossing = crossingOf(MiB, new Flowing());
  const began = performance.now();
  assert.is((await follow(crossing, 0, MiB, 5_000)).end, 'behind');
  const ms = performance.now() - began;
  assert.ok(ms >= 4_999, `${ms} ms`);
});

test('the crossings of a process know whether any of them gets bytes', async () => {
  const traffic = new Traffic();
  assert.not(traffic.isFlowing);
  const blob = randomBytes(MiB);
  const copying = crossingOf(blob.length, traffic).through(0, async at => pieces(blob, at));
  await copying.next();
  assert.ok(traffic.isFlowing);
  await sleep(1_100);
  assert.not(traffic.isFlowing);
  await copying.return();

  await crossingOf(blob.length, traffic).open(async length => pieces(blob.subarray(0, length)));
  assert.ok(traffic.isFlowing, 'an opening counts, too');
});

test('once bytes came again, one may leave again', async () => {
  const blob = randomBytes(MiB);
  const crossing = crossingOf(blob.length);
  assert.is((await follow(crossing, 0, blob.length, 60_000)).end, 'behind');
  const copying = crossing.through(0, async at => pieces(blob, at));
  await copying.next();
  assert.is((await follow(crossing, 0, blob.length, 60_000)).end, 'behind');
  await collect(copying);
});

test('what was read before the copy began is not read again, and is there for all', async () => {
  const blob = randomBytes(3 * MiB);
  const crossing = crossingOf(blob.length);
  const follower = follow(crossing, 0, blob.length);
  let opened = 0;
  await crossing.open(async length => {
    opened = length;
    return pieces(blob.subarray(0, length));
  });
  assert.ok(crossing.adopt() && !crossing.adopt());
  const offsets: number[] = [];
  const source = async (at: number) => {
    offsets.push(at);
    return pieces(blob, at);
  };
  assert.equal(await collect(crossing.through(0, source)), blob);
  assert.equal(offsets, [opened]);
  assert.equal((await follower).bytes, blob);
});

test('an opening that breaks off is gone on with by the copy', async () => {
  const blob = randomBytes(2 * MiB);
  const crossing = crossingOf(blob.length);
  await crossing.open(async () => {
    const [first] = [blob.subarray(0, 300_000)];
    return (async function* () {
      yield first;
      throw new Error('the source is gone');
    })();
  });
  assert.equal(await collect(crossing.through(0, async at => pieces(blob, at))), blob);
});

test('a ring keeps the last 16 MiB, and less of each when there are many', () => {
  const memory = new RingMemory();
  const rings = Array.from({ length: 20 }, () => new Ring(memory));
  const [first] = rings;
  const blob = randomBytes(20 * MiB);
  first?.restart(5);
  for (let at = 0; at < blob.length; at += 777_777) first?.push(blob.subarray(at, at + 777_777));
  assert.is(first?.end, blob.length + 5);
  const start = first?.start ?? 0;
  assert.ok(start > 4 * MiB && start <= 5 * MiB + 5);
  assert.is(first?.from(start - 1), undefined);
  assert.is(first?.from(blob.length + 5), undefined);
  const kept: Buffer[] = [];
  for (let at = start; at < blob.length + 5; at += kept.at(-1)?.length ?? 1)
    kept.push(first?.from(at) ?? Buffer.alloc(0));
  assert.ok(Buffer.concat(kept).equals(blob.subarray(start - 5)));
  for (const ring of rings) ring.push(blob);
  assert.ok(memory.used <= 128 + 2 * 20);
  assert.ok(rings.every(ring => ring.end - ring.start >= MiB));
  for (const ring of rings) ring.restart(ring.end);
  assert.is(memory.used, 0);
});

test('of a copy that nobody follows, the beginning is kept for who may come, and then nothing', async () => {
  const blob = randomBytes(20 * MiB);
  const memory = new RingMemory();
  const crossing = new Crossing(blob.length, memory);
  const copy = crossing.through(0, async at => pieces(blob, at));
  let at = 0;
  const copyTo = async (end: number) => {
    for (; at < end; at += (await copy.next()).value?.length ?? 0);
  };
  await copyTo(15 * MiB);
  assert.ok(crossing.keptBytes >= at);
  const early = crossing.follow({ offset: 0, limit: MiB, patienceMs: 10_000 }, never);
  assert.is((await early.next()).value?.kind, 'data');
  await early.return();
  // Who has just gone may come back.
  await copyTo(17 * MiB);
  assert.ok(crossing.keptBytes >= 15 * MiB);
  crossing.settle({ kind: 'failed' });
  await copy.return();

  const alone = new Crossing(blob.length, memory);
  const rest = alone.through(0, async from => pieces(blob, from));
  for (at = 0; at < 17 * MiB; at += (await rest.next()).value?.length ?? 0);
  assert.equal([alone.keptBytes, memory.used], [0, 0]);
  // Whoever comes now gets what comes next.
  const late = follow(alone, 18 * MiB, MiB);
  await collect(rest);
  assert.ok((await late).bytes.equals(blob.subarray(18 * MiB, 19 * MiB)));
});

test('what a follower was given stays as it is, though the memory is used again', async () => {
  const blob = randomBytes(40 * MiB);
  const crossing = crossingOf(blob.length);
  const one = Buffer.alloc(300_000);
  async function* reusing(): AsyncGenerator<Buffer> {
    for (let at = 0; at < blob.length; at += one.length) {
      const copied = blob.copy(one, 0, at);
      yield one.subarray(0, copied);
      if (at % 3 === 0) await sleep(0);
    }
  }
  const followers = [0, 1, 2].map(async () => {
    const got: Buffer[] = [];
    for await (const news of crossing.follow({ offset: 0, limit: blob.length, patienceMs: 10_000 }, never)) {
      if (news.kind === 'data') got.push(news.data);
      await sleep(0);
    }
    return Buffer.concat(got);
  });
  await collect(crossing.through(0, async () => reusing()));
  crossing.settle({ kind: 'stored' });
  for (const got of await Promise.all(followers)) {
    assert.ok(got.length > 0);
    assert.ok(got.equals(blob.subarray(0, got.length)));
  }
});

test.run();
