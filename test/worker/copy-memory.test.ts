/**
 * What one copy of a large blob keeps in memory: 64 MiB at the most, however fast the source and however slow the target.
 * Everything between the two is real; the source answers as it is told to, and the target takes what it is told to take.
 */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { ReadAhead, STRIPE_BYTES } from '../../lib/locations/read-ahead.js';
import { digestOf } from '../../lib/oci/digest.js';
import { Crossing } from '../../worker/crossing/crossing.js';
import { RingMemory } from '../../worker/crossing/ring.js';
import { copyLarge } from '../../worker/replicate/large.js';
import { Throttle } from '../../worker/replicate/throttle.js';
import { pastFirstStripes, ScriptedSource } from '../locations/scripted-source.js';
import { pattern } from '../support/bytes.js';
import { suite } from '../support/suite.js';
import { finished } from '../support/wait.js';
import { CHECKPOINT_BYTES, ScriptedReplication, ScriptedTarget, TargetLocation } from './scripted-target.js';

const test = suite('worker: the memory of a copy');
const MiB = 1024 * 1024;
const BLOB = pattern(112 * MiB, 3);
const digest = digestOf(Buffer.from('neither the source nor the target hashes'));
const MOST = 64 * MiB;

/** What all that a copy keeps came to at its peak. */
class Memory {
  readonly ring = new RingMemory();
  /** Stripes whose memory is taken, and not given back. */
  stripes = 0;
  peak = 0;

  get bytes(): number {
    return this.stripes * STRIPE_BYTES + this.ring.used * MiB;
  }
  look(): void {
    this.peak = Math.max(this.peak, this.bytes);
  }
}

class CountedReadAhead extends ReadAhead {
  readonly #memory: Memory;

  constructor(memory: Memory) {
    super();
    this.#memory = memory;
  }
  override buffer(): Buffer {
    this.#memory.stripes++;
    this.#memory.look();
    return super.buffer();
  }
  override reuse(buffer: Buffer): void {
    this.#memory.stripes--;
    super.reuse(buffer);
  }
}

/** A source whose stripes come in two halves, with a gap as over a connection that has lost a packet. */
class Source extends ScriptedSource {
  override readonly readAhead: ReadAhead;
  /** The most stripes that were on their way at a time. */
  widest = 0;

  constructor(memory: Memory, gapMs: number) {
    super(BLOB, MiB / 2);
    this.readAhead = new CountedReadAhead(memory);
    pastFirstStripes(this.readAhead);
    this.onCall = call => {
      this.widest = Math.max(this.widest, this.open.length);
      call.give(gapMs > 0 ? MiB / 2 : undefined);
      if (gapMs > 0) void sleep(gapMs).then(() => call.give());
    };
  }
}

interface Case {
  readonly gapMs: number;
  readonly keeps: boolean;
  readonly followed: boolean;
  /** The target begins to be slow here. */
  readonly slowFrom: number;
}

async function copied({ gapMs, keeps, followed, slowFrom }: Case) {
  const memory = new Memory();
  const locations = new Source(memory, gapMs);
  const crossing = new Crossing(BLOB.length, memory.ring);
  const following = new AbortController();
  // One that takes the first bytes, and never asks for more.
  const follower = crossing.follow({ offset: 0, limit: BLOB.length, patienceMs: 60_000 }, following.signal);
  const first = followed ? follower.next() : undefined;
  let stopAt = slowFrom;
  const store = new ScriptedTarget(async at => {
    memory.look();
    if (at < stopAt) return;
    stopAt = at + CHECKPOINT_BYTES + MiB / 2;
    // Slow: nothing is taken until all that can come has come.
    for (let quiet = 0; quiet < 10; quiet++) await setImmediate();
    if (gapMs > 0) await sleep(2 * gapMs);
    memory.look();
  });
  const job = {
    ...{ id: '1', token: '', digest, size: BLOB.length, target: 'target', sources: ['scripted'], attempts: 1 },
    ...{ checkpoint: undefined, traceId: undefined, cause: undefined, signal: new AbortController().signal },
  };
  const copy = {
    locations,
    target: new TargetLocation(store),
    replication: new ScriptedReplication(keeps),
    job,
    crossing,
  };
  try {
    await finished(copyLarge({ ...copy, throttle: new Throttle(), suspects: new Set(), readBytes: 0 }), 25_000);
  } finally {
    crossing.settle({ kind: 'stored' });
    following.abort();
    await first;
    await follower.return();
  }
  assert.ok(Buffer.concat(store.got).equals(BLOB), 'every byte, in order');
  return { peak: memory.peak, left: memory.bytes, widest: locations.widest };
}

for (const followed of [false, true]) {
  const who = followed ? ' that is followed' : '';
  test(`a copy${who} keeps 64 MiB at the most while its target is slow`, async () => {
    const { peak, left } = await copied({ gapMs: 0, keeps: true, followed, slowFrom: 0 });
    assert.ok(peak <= MOST, `${peak / MiB} MiB`);
    assert.ok(peak >= 48 * MiB, `it reads ahead: ${peak / MiB} MiB`);
    assert.is(left, 0);
  });

  test(`a copy${who} does so where packets get lost, too, and more is on its way`, async () => {
    const { peak, widest } = await copied({ gapMs: 50, keeps: true, followed, slowFrom: 56 * MiB });
    assert.is(widest, 36);
    assert.ok(peak <= MOST && peak >= 40 * MiB, `${peak / MiB} MiB`);
  });
}

test('a copy that is followed does so while no checkpoint can be recorded', async () => {
  const { peak } = await copied({ gapMs: 0, keeps: false, followed: true, slowFrom: 0 });
  assert.ok(peak <= MOST && peak >= 48 * MiB, `${peak / MiB} MiB`);
});

test.run();
