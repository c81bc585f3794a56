/** The connections to a far node: which one a call goes over, and when there are more. A real server, real connections. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Lanes } from '../../lib/locations/lanes.js';
import { StorageNode } from '../../lib/locations/node.js';
import { WideStreams } from '../../lib/locations/wide-streams.js';
import { isConnected } from '../../lib/rpc/channel.js';
import { Security } from '../../lib/rpc/security.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { ReadBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/ReadBlobRequest.js';
import type {
  ReadBlobResponse,
  ReadBlobResponse__Output,
} from '../../proto/generated/entrepot/storage/v1/ReadBlobResponse.js';
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { quiet } from '../support/clients.js';
import { make, startPair } from '../support/rpc-stub.js';
import { atEnd, suite } from '../support/suite.js';
import { soon } from '../support/wait.js';

const test = suite('locations: lanes');

let server: number;
test.before(async () => {
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_, send) => {
      await send({ size: 5, data: Buffer.from('hello') });
    }),
  });
  server = Number(pair.address.split(':').at(-1));
});

/** Stands before the server, counts connections, and may let them wait. */
interface Gate {
  readonly address: string;
  /** How many connections were opened so far. */
  readonly opened: number;
  /** How many may pass; the others wait, and come later. */
  pass(connections: number): void;
}

async function startGate(): Promise<Gate> {
  const sockets = new Set<Socket>();
  const waiting: Socket[] = [];
  let opened = 0;
  let passed = 0;
  let mayPass = Number.POSITIVE_INFINITY;
  const join = (from: Socket, to: Socket) => {
    sockets.add(from);
    from.on('error', () => {});
    from.on('close', () => to.destroy());
    from.pipe(to);
  };
  const letIn = () => {
    while (passed < mayPass) {
      const near = waiting.shift();
      if (!near) return;
      passed++;
      const far = connect(server, '127.0.0.1');
      join(near, far);
      join(far, near);
    }
  };
  const gate = createServer(near => {
    opened++;
    sockets.add(near);
    near.on('error', () => {});
    waiting.push(near);
    letIn();
  });
  gate.listen(0, '127.0.0.1');
  await once(gate, 'listening');
  const address = gate.address();
  if (address === null || typeof address === 'string') throw new Error('the gate has no port');
  atEnd(() => {
    gate.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    address: `127.0.0.1:${address.port}`,
    get opened() {
      return opened;
    },
    pass: connections => {
      mayPass = connections;
      letIn();
    },
  };
}

async function start(): Promise<{ gate: Gate; calls: Calls }> {
  const gate = await startGate();
  return { gate, calls: new Calls(gate) };
}

/** Calls that are under way. What counts is only for how long each is held: nothing crosses. */
class Calls {
  readonly #lanes: Lanes;
  readonly #held: { stub: StorageClient; done: () => void }[] = [];
  /** The connections that were ever chosen, in that order. */
  readonly seen: StorageClient[] = [];

  constructor({ address }: Gate) {
    this.#lanes = new Lanes(address, Security.local);
    atEnd(() => this.#lanes.close());
  }

  sentWith(congestionControl: string): void {
    this.#lanes.sentWith(congestionControl);
  }

  take(count = 1): void {
    for (let i = 0; i < count; i++) {
      const call = this.#lanes.take();
      this.#held.push(call);
      if (!this.seen.includes(call.stub)) this.seen.push(call.stub);
    }
  }

  /** Ends those over these connections. `often`: how many times each is said to be over. */
  end(over: readonly StorageClient[], often = 1): void {
    for (const call of this.#held.filter(({ stub }) => over.includes(stub))) {
      this.#held.splice(this.#held.indexOf(call), 1);
      for (let i = 0; i < often; i++) call.done();
    }
  }

  /** How many calls each connection has, in the order of `seen`. */
  get each(): number[] {
    return this.seen.map(lane => this.#held.filter(({ stub }) => stub === lane).length);
  }

  /** Until so many connections are there. */
  async connected(count: number): Promise<void> {
    await soon('connections', async () => assert.is(this.seen.filter(isConnected).length, count));
  }
}

/** So many times the same number. */
const times = (count: number, value: number) => Array.from({ length: count }, () => value);

test('sixteen connections are opened with the first call, and share what comes; there are never more', async () => {
  const one = await start();
  one.calls.take();
  await soon('sixteen connections', async () => assert.is(one.gate.opened, 16));
  await one.calls.connected(1);
  const [stub] = one.calls.seen;
  assert.ok(stub);
  const answers: Buffer[] = [];
  for await (const { data } of readMessages<ReadBlobResponse__Output>(stub.readBlob({}))) answers.push(data);
  assert.is(Buffer.concat(answers).toString(), 'hello');

  const { gate, calls } = await start();
  calls.take(16);
  assert.equal(calls.each, times(16, 1));
  await calls.connected(16);
  calls.take(16);
  assert.equal(calls.each, times(16, 2));
  calls.take(68);
  await sleep(100);
  assert.is(gate.opened, 16);
  assert.equal(calls.each.toSorted(), [...times(12, 6), ...times(4, 7)]);
});

test('eight are used where the node sends with BBR, also if it began to do so, or ends it', async () => {
  const { gate, calls } = await start();
  calls.sentWith('bbr');
  calls.take(16);
  assert.equal(calls.each, times(8, 2));
  await calls.connected(8);
  assert.is(gate.opened, 8);
  calls.sentWith('cubic');
  calls.take(1);
  await soon('sixteen connections', async () => assert.is(gate.opened, 16));
  await soon('calls over all of them', async () => {
    calls.take(1);
    assert.is(calls.seen.length, 16);
  });
  await calls.connected(16);
  calls.end(calls.seen);
  calls.sentWith('bbr2');
  calls.take(24);
  assert.equal(calls.each.slice(8), times(8, 0));
});

test('a node says itself how it sends', async () => {
  for (const [congestionControl, used] of [
    ['bbr', 8],
    ['cubic', 16],
    ['', 16],
  ] as const) {
    const { address } = await startPair({
      Describe: make.unary(async () => ({ location: 'far', locationId: 'id', congestionControl })),
    });
    const identify = async () => true;
    const node = new StorageNode({ address, location: 'far', wideStreams: new WideStreams(), identify, log: quiet });
    atEnd(() => node.close());
    await node.verify();
    const stubs = new Set(Array.from({ length: 64 }, () => node.openStream(true).stub));
    assert.is(stubs.size, used, congestionControl);
  }
});

/** Sixteen connections that have had a call each: the first one's took far longer, however crowded the machine is. */
async function startWithSlowOne(): Promise<{ calls: Calls; others: StorageClient[] }> {
  const { calls } = await start();
  const began = performance.now();
  calls.take(16);
  await calls.connected(16);
  const [slow, ...others] = calls.seen;
  assert.ok(slow);
  calls.end(others);
  await sleep(Math.max(100, 10 * (performance.now() - began)));
  calls.end([slow]);
  return { calls, others };
}

test('a connection on which calls take much longer gets fewer, and a fifth is made only when all have four', async () => {
  const { calls } = await startWithSlowOne();
  calls.take(60);
  assert.equal(calls.each, [0, ...times(15, 4)]);
  calls.take(4);
  assert.equal(calls.each, times(16, 4));
});

test('a connection that was slow is tried again after some hundred calls', async () => {
  const { calls, others } = await startWithSlowOne();
  // Each time one for each of the others.
  let times = 0;
  for (; calls.each[0] === 0 && times < 5_000; times++) {
    calls.end(others);
    calls.take(15);
  }
  assert.ok(times > 1 && times < 5_000, `after ${15 * times} calls`);
});

test('a call goes over a connection that is there while others are not', async () => {
  const { gate, calls } = await start();
  gate.pass(1);
  calls.take(16);
  assert.equal(calls.each, times(16, 1));
  await calls.connected(1);
  await soon('sixteen connections', async () => assert.is(gate.opened, 16));
  const there = calls.seen.findIndex(isConnected);
  calls.take(8);
  assert.equal(calls.each.toSpliced(there, 1), times(15, 1));
  gate.pass(16);
  await calls.connected(16);
  calls.take(15);
  assert.equal(calls.each.toSpliced(there, 1), times(15, 2));
});

test('a call that is said to be over again and again is over once', async () => {
  const { calls } = await start();
  calls.take(16);
  await calls.connected(16);
  calls.end(calls.seen.slice(0, 1), 5);
  calls.take(17);
  assert.equal(calls.each, times(16, 2));
});

test.run();
