/** Slots and rooms: who may claim how much. */
import * as assert from 'uvu/assert';
import type { Job } from '../../lib/metadata/replication.js';
import { digestOf } from '../../lib/oci/digest.js';
import type { HeldJob } from '../../worker/replicate/leases.js';
import { idleQueues, roomsIn } from '../../worker/replicate/queues.js';
import { Slots } from '../../worker/replicate/slots.js';
import { Throttle } from '../../worker/replicate/throttle.js';
import { suite } from '../support/suite.js';

const test = suite('worker: queues');

function target(slots: number | undefined, concurrency = 4) {
  const all = new Slots(concurrency);
  const queues = ['us', 'eu'].flatMap(source => [false, true].map(large => all.of({ target: 'ap', source, large })));
  return { all, queues, usable: { target: { name: 'ap', slots, throttle: new Throttle() }, queues } };
}
function job(name: string): HeldJob {
  const plain: Job = {
    ...{ id: name, token: name, digest: digestOf(Buffer.from(name)), size: 1, target: 'ap', sources: ['us'] },
    ...{ attempts: 1, checkpoint: undefined, traceId: undefined, cause: undefined },
  };
  return { ...plain, signal: new AbortController().signal };
}

test('each queue has slots of its own, whatever the others do', () => {
  const { all, queues, usable } = target(undefined);
  const [small, large] = queues;
  if (!small || !large) throw new Error('no queues');
  small.running = 3;
  // Of small blobs, as many batches again may wait as may run.
  for (const name of ['a', 'b', 'c', 'd', 'e']) small.waiting.push([job(name)]);
  assert.equal([small.free, large.free], [0, 4]);
  const rooms = roomsIn(usable, all, 0, 0);
  assert.equal(
    rooms.map(({ source, large: l, rows }) => `${source} ${l} ${rows}`),
    ['us true 4', 'eu false 4000', 'eu true 4'],
  );
  assert.equal(roomsIn(usable, all, 0, 1), [], 'one round is enough');
});

test('no more runs than there are slots; what comes from nowhere has some of its own', () => {
  const { all, queues } = target(undefined, 2);
  const [small] = queues;
  if (!small) throw new Error('no queue');
  const [a, b] = [[job('a')], [job('b')]];
  small.waiting.push(a, b);
  assert.not(small.isIdle);
  assert.is(small.next(), a);
  assert.ok(small.isIdle);
  small.running = 2;
  assert.is(small.next(), undefined);
  assert.equal(small.waiting, [b]);
  const lost = all.of({ target: 'ap', source: undefined, large: true });
  assert.is(lost.free, 4);
  lost.running = 4;
  assert.equal([lost.free, lost.isIdle], [0, false]);
});

test('under a limit of the target, its queues take turns to be first', () => {
  const { all, usable } = target(1);
  const first = [0, 1, 2, 3].map(turn =>
    roomsIn(usable, all, turn, 0).map(({ source, large }) => `${source} ${large}`),
  );
  assert.equal(first, [['us false'], ['us true'], ['eu false'], ['eu true']]);
  const rounds = [0, 1, 2, 3, 4].flatMap(round => roomsIn(usable, all, 0, round));
  assert.equal(
    rounds.map(({ rows }) => rows).toSorted((x, y) => x - y),
    [1, 1, 500, 500],
    'one slot each: a large blob, or a batch',
  );
  assert.is(rounds.length, 4, 'if nothing is found in one, the others are asked in the same turn');
});

test('a limit counts what runs and what waits, over all queues of the target', () => {
  const { all, queues, usable } = target(2);
  for (const queue of queues.slice(0, 2)) queue.running = 1;
  assert.equal(
    [0, 1, 2, 3].flatMap(round => roomsIn(usable, all, 0, round)),
    [],
  );
  assert.equal(idleQueues([usable], all), []);
  assert.equal(roomsIn(target(0).usable, all, 0, 0), []);
});

test('a job that waits can be taken out of its batch', () => {
  const { all, queues } = target(undefined);
  const [a, b] = [job('a'), job('b')];
  queues[0]?.waiting.push([a, b]);
  assert.is(all.takeWaiting(a.digest, 'ap'), a);
  assert.is(all.takeWaiting(a.digest, 'ap'), undefined);
  assert.equal(queues[0]?.next(), [b]);
});

test.run();
