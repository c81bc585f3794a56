/** Reads that come one after another over a connection: their order, and that nobody waits for long. */
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as assert from 'uvu/assert';
import { begun } from '../../storage-proxy/service/begun.js';
import { Turns } from '../../storage-proxy/service/turns.js';
import { rejects } from '../support/rejects.js';
import { deferred } from '../support/rpc-stub.js';
import { suite } from '../support/suite.js';
import { finished } from '../support/wait.js';

const test = suite('storage service: turns');
const never = new AbortController().signal;
const LONG_MS = 60_000;

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

/** Work that lasts until it is told to end. */
function piece(turns: Turns, connection = 'a', signal = never) {
  const end = deferred<void>();
  const work = { hasBegun: false, end: () => end.resolve(), over: Promise.resolve() };
  work.over = turns.run(connection, signal, async () => {
    work.hasBegun = true;
    await end.promise;
  });
  work.over.catch(() => {});
  return work;
}

/** Until nothing more happens by itself. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await setImmediate();
}

test('work on one connection is done one after another, in the order in which it came', async () => {
  const turns = new Turns(LONG_MS);
  const [first, second, third] = [piece(turns), piece(turns), piece(turns)];
  const begunNow = () => [first, second, third].map(({ hasBegun }) => hasBegun);
  await settled();
  assert.equal(begunNow(), [true, false, false]);
  first.end();
  await settled();
  assert.equal(begunNow(), [true, true, false]);
  second.end();
  await settled();
  assert.equal(begunNow(), [true, true, true]);
  third.end();
  await finished(third.over);
  await settled();
  assert.is(turns.connections, 0, 'nothing is remembered of a connection on which nobody waits');
});

test('another connection does not wait', async () => {
  const turns = new Turns(LONG_MS);
  const [here, there] = [piece(turns, 'a'), piece(turns, 'b')];
  await settled();
  assert.ok(here.hasBegun && there.hasBegun);
  here.end();
  there.end();
});

test('who has waited long goes on beside those before it, and later ones wait for both', async () => {
  const mostMs = 400;
  const turns = new Turns(mostMs);
  const first = piece(turns);
  const askedAt = performance.now();
  const second = piece(turns);
  while (!second.hasBegun && performance.now() - askedAt < 10_000) await setImmediate();
  assert.ok(second.hasBegun);
  // A timer may be early by a millisecond.
  assert.ok(performance.now() - askedAt >= mostMs - 1);
  second.end();
  await finished(second.over);
  const thirdAskedAt = performance.now();
  const third = piece(turns);
  await settled();
  // On a crowded machine it may have waited long itself by now.
  const hasWaitedLong = performance.now() - thirdAskedAt >= mostMs - 1;
  assert.ok(hasWaitedLong || !third.hasBegun, 'the first is not over');
  first.end();
  await settled();
  assert.ok(third.hasBegun);
  third.end();
});

test('who is cancelled while it waits does nothing, and whoever is behind it keeps waiting', async () => {
  const turns = new Turns(LONG_MS);
  const abort = new AbortController();
  const first = piece(turns);
  const second = piece(turns, 'a', abort.signal);
  const third = piece(turns);
  abort.abort();
  await rejects('CANCELLED', () => finished(second.over));
  await settled();
  assert.equal([second.hasBegun, third.hasBegun], [false, false]);
  first.end();
  await settled();
  assert.ok(third.hasBegun);
  third.end();
});

test('a connection that is never idle does not make the memory grow', async () => {
  const turns = new Turns(LONG_MS);
  let last = piece(turns);
  const pass = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const next = piece(turns);
      last.end();
      await last.over;
      last = next;
    }
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = await pass(1_000);
  const after = await pass(50_000);
  assert.ok(after - before < 2_000_000, `${after - before} bytes more after 50,000 turns`);
  last.end();
});

test('work that fails lets the next one go on', async () => {
  const turns = new Turns(LONG_MS);
  const failing = turns.run('a', never, async () => {
    throw new Error('the disk');
  });
  const next = piece(turns);
  await rejects('the disk', () => failing);
  await settled();
  assert.ok(next.hasBegun);
  next.end();
});

test('a source that is begun has its first piece on the way, gives all, and is ended if nobody iterates', async () => {
  const seen: string[] = [];
  async function* source() {
    try {
      for (const each of ['a', 'b', 'c']) {
        seen.push(each);
        yield each;
      }
    } finally {
      seen.push('end');
    }
  }
  const iterated = begun(source());
  await settled();
  assert.equal(seen, ['a']);
  const got: string[] = [];
  for await (const each of iterated) got.push(each);
  assert.equal(got, ['a', 'b', 'c']);
  iterated.end();
  await settled();
  assert.equal(seen.splice(0), ['a', 'b', 'c', 'end']);
  const left = begun(source());
  left.end();
  await settled();
  assert.equal(seen.splice(0), ['a', 'end']);
  for await (const each of begun(source())) if (each === 'b') break;
  assert.equal(seen, ['a', 'b', 'end']);
});

test.run();
