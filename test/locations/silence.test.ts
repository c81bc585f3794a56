/** Silence: of a node, and of a worker that copies; and what is none. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import * as assert from 'uvu/assert';
import { Crossing, type CrossingRequest } from '../../lib/locations/crossing.js';
import { Locations } from '../../lib/locations/locations.js';
import { NearWorkers } from '../../lib/locations/near-workers.js';
import { nextInTime } from '../../lib/locations/silence.js';
import { digestOf } from '../../lib/oci/digest.js';
import { hasReason, StatusError } from '../../lib/rpc/errors.js';
import { quiet } from '../support/clients.js';
import { freePort } from '../support/ports.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('locations: silence');
const MiB = 1024 * 1024;

test('who says nothing is given up', async () => {
  const silent = new AbortController();
  async function* nothing(): AsyncGenerator<string> {
    await once(silent.signal, 'abort');
    yield* [];
    throw new Error('given up');
  }
  const failure = await nextInTime(nothing(), 100, () => silent.abort()).catch(error => error);
  assert.instance(failure, StatusError);
  assert.is(failure.status, 'DEADLINE_EXCEEDED');
  assert.not(hasReason(failure));
});

test('while others are heard on the same way, it is waited for longer, but not for ever', async () => {
  for (const { heardFor, gaveUpAfter } of [
    { heardFor: 0, gaveUpAfter: 1 },
    { heardFor: 3, gaveUpAfter: 4 },
    { heardFor: 1_000, gaveUpAfter: 12 },
  ]) {
    const silent = new AbortController();
    async function* nothing(): AsyncGenerator<string> {
      await once(silent.signal, 'abort');
      yield* [];
      throw new Error('given up');
    }
    let times = 0;
    const isHeard = () => ++times <= heardFor;
    const began = performance.now();
    const failure = await nextInTime(nothing(), 40, () => silent.abort(), isHeard).catch(error => error);
    assert.is(failure.status, 'DEADLINE_EXCEEDED');
    assert.ok(performance.now() - began >= 39 * gaveUpAfter, `gave up after ${performance.now() - began} ms`);
    assert.is(times, Math.min(gaveUpAfter, 11));
  }
});

test('what comes late, while others are heard, is taken', async () => {
  let come: () => void = () => {};
  const coming = new Promise<void>(resolve => {
    come = resolve;
  });
  async function* late(): AsyncGenerator<string> {
    await coming;
    yield 'late';
  }
  let times = 0;
  const isHeard = () => {
    if (++times === 2) come();
    return true;
  };
  let gaveUp = false;
  const next = await nextInTime(
    late(),
    40,
    () => {
      gaveUp = true;
    },
    isHeard,
  );
  assert.equal([next, gaveUp, times], [{ value: 'late', done: false }, false, 2]);
});

test('a process that was held up itself does not take that for silence', async () => {
  const echo = `const { parentPort: port } = require('node:worker_threads'); port.on('message', each => port.postMessage(each));`;
  const other = new Worker(echo, { eval: true });
  atEnd(() => other.terminate());
  async function* answers(): AsyncGenerator<string> {
    const [answer] = await once(other, 'message');
    yield answer;
  }
  await once(other, 'online');
  let gaveUp = false;
  const next = nextInTime(answers(), 400, () => {
    gaveUp = true;
  });
  other.postMessage('said in time');
  // From here on timers come before what others have said.
  await setImmediate();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  assert.equal(await next, { value: 'said in time', done: false });
  assert.not(gaveUp);
});

/** The workers at these addresses. */
function workersAt(...addresses: string[]): NearWorkers {
  const workers = new NearWorkers({ addresses: async () => addresses, log: quiet });
  atEnd(() => workers.close());
  return workers;
}
/** A read of all of a blob that this region lacks. */
function readOf(size: number, workers: NearWorkers): Crossing {
  const locations = new Locations({ locations: [], preference: [], identify: async () => true, log: quiet });
  atEnd(() => locations.close());
  const request: CrossingRequest = {
    ...{ locations, digest: digestOf(randomBytes(8)), size, holders: ['usstorage'], context: {} },
    range: { offset: 0, length: size },
  };
  return new Crossing(request, 'eustorage', workers, () => {});
}

test('while no worker answers, a read goes its own way for a piece only, though it has asked none itself', async () => {
  const workers = workersAt(`127.0.0.1:${await freePort()}`);
  const size = 100 * MiB;
  const piece = { kind: 'stored', limit: MiB };
  assert.equal(await readOf(size, workers).next(0, size), piece, 'the worker does not answer');
  assert.is(await workers.choose('anything'), undefined, 'it is not asked for a while');
  assert.equal(await readOf(size, workers).next(0, size), piece);
  assert.equal(await readOf(size, workersAt()).next(0, size), { kind: 'stored', limit: size });
});

test('while no worker answers, each piece is twice as long as the one before, up to 8 MiB', async () => {
  const size = 21 * MiB;
  const read = readOf(size, workersAt(`127.0.0.1:${await freePort()}`));
  const limits: number[] = [];
  for (let at = 0; at < size; at += limits.at(-1) ?? size) {
    const next = await read.next(at, size - at);
    assert.is(next.kind, 'stored');
    limits.push(next.kind === 'stored' ? next.limit : 0);
  }
  assert.equal(
    limits.map(limit => limit / MiB),
    [1, 2, 4, 8, 6],
  );
});

test.run();
