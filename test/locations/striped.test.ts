/** Reading one blob in stripes: in order, bounded, around what is late, and nothing left behind. */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { BlobUnavailable } from '../../lib/locations/read.js';
import { ReadAhead } from '../../lib/locations/read-ahead.js';
import { StripedRead, type StripedRequest } from '../../lib/locations/striped.js';
import { digestOf } from '../../lib/oci/digest.js';
import { pattern } from '../support/bytes.js';
import { rejects } from '../support/rejects.js';
import { suite } from '../support/suite.js';
import { finished, soon } from '../support/wait.js';
import { pastFirstStripes, type ScriptedCall, ScriptedSource } from './scripted-source.js';

const test = suite('locations: striped reads');
const MiB = 1024 * 1024;
/** What may be asked for beyond what was kept. */
const AHEAD = 60 * MiB;
const BLOB = pattern(100 * MiB, 1);
const digest = digestOf(Buffer.from('the source does not hash'));

const source = (size: number, pieceBytes?: number) => new ScriptedSource(BLOB.subarray(0, size), pieceBytes);

const opened: StripedRead[] = [];
test.after.each(() => {
  for (const read of opened.splice(0)) read.close();
});

function open(locations: ScriptedSource, size: number, more: Partial<StripedRequest> = {}): StripedRead {
  const request = { locations, digest, size, from: 0, holders: ['scripted'], context: {}, budget: new ReadAhead() };
  const read = new StripedRead({ ...request, ...more });
  opened.push(read);
  return read;
}

/** A reader that takes all bytes, keeps them as it goes unless it is told not to, and copies what may be used again. */
class Reader {
  readonly #read: StripedRead;
  readonly #pieces: Buffer[] = [];
  /** The first byte that it has not got. */
  at: number;
  /** Resolves at the end to all bytes. */
  readonly whole: Promise<Buffer>;

  constructor(read: StripedRead, from = 0, keeps = true) {
    this.#read = read;
    this.at = from;
    this.whole = this.#take(keeps);
    this.whole.catch(() => {});
  }

  async #take(keeps: boolean): Promise<Buffer> {
    for await (const piece of this.#read.bytes()) {
      this.#pieces.push(Buffer.from(piece));
      this.at += piece.length;
      if (keeps) this.#read.kept(this.at);
    }
    return Buffer.concat(this.#pieces);
  }
}

/** Until nothing more happens by itself. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await setImmediate();
}

/** How many stripes the budget would still give. */
function freeIn(budget: ReadAhead): number {
  let count = 0;
  while (budget.take()) count++;
  for (let i = 0; i < count; i++) budget.give();
  return count;
}

function first(locations: ScriptedSource, index: number): ScriptedCall {
  const call = locations.calls[index];
  assert.ok(call, `there is a call ${index}`);
  return call as ScriptedCall;
}

test('the bytes come out once and in order, in whatever order the stripes are complete', async () => {
  const orders: Record<string, (open: ScriptedCall[]) => (ScriptedCall | undefined)[]> = {
    forwards: open => open,
    backwards: open => open.toReversed(),
    'the last one only': open => open.slice(-1),
    'in the middle': open => [open[Math.floor(open.length / 2)]],
  };
  for (const [name, order] of Object.entries(orders)) {
    for (const transient of [false, true]) {
      const [from, size] = [MiB + 17, 20 * MiB + 12_345];
      const locations = source(size);
      const reader = new Reader(open(locations, size, { from, transient }), from);
      while (reader.at < size) {
        for (const call of order(locations.open)) call?.give();
        await setImmediate();
      }
      assert.ok((await reader.whole).equals(BLOB.subarray(from, size)), name);
    }
  }
});

test('also pieces by turns, with a read that ends between two borders, or has nothing to bring', async () => {
  const cases = [
    { from: 0, size: 0, calls: 0 },
    { from: 5 * MiB, size: 5 * MiB, calls: 0 },
    { from: 0, size: 1, calls: 1 },
    { from: 0, size: MiB, calls: 1 },
    { from: MiB - 1, size: MiB, calls: 1 },
    { from: MiB - 1, size: 3 * MiB, calls: 3 },
  ];
  for (const { from, size, calls } of cases) {
    const locations = source(size, 65_537);
    const reader = new Reader(open(locations, size, { from }), from);
    for (let turn = 0; reader.at < size; turn++) {
      const { open } = locations;
      open[turn % open.length]?.give(100_000);
      await setImmediate();
    }
    assert.ok((await finished(reader.whole)).equals(BLOB.subarray(from, size)), `${from} to ${size}`);
    // On a crowded machine one may come so late that it is asked for again.
    assert.is(new Set(locations.calls.map(({ end }) => end)).size, calls);
  }
});

test('nothing is asked for beyond 60 MiB after what was kept', async () => {
  const size = BLOB.length;
  const locations = source(size, MiB);
  locations.onCall = call => call.give();
  const read = open(locations, size);
  const bytes = read.bytes();
  // Takes, and then waits for nothing: who waits long enough without a checkpoint gets more.
  for (let taken = 0; taken < 40 * MiB; ) taken += (await bytes.next()).value?.length ?? 0;
  await settled();
  assert.is(locations.askedFor, AHEAD);
  let most = 0;
  for (const kept of [1, MiB - 1, MiB, 10 * MiB + 5, 10 * MiB]) {
    read.kept(kept);
    await settled();
    most = Math.max(most, kept);
    assert.is(locations.askedFor, AHEAD + Math.floor(most / MiB) * MiB, `kept ${kept}`);
  }
});

test('where no checkpoint comes, reading goes on without', async () => {
  const size = AHEAD + MiB + 1;
  const locations = source(size, MiB);
  locations.onCall = call => call.give();
  const reader = new Reader(open(locations, size, { transient: true }), 0, false);
  assert.is((await finished(reader.whole)).length, size);
});

test('sixteen stripes are on their way, of all reads together, and two of each at the least', async () => {
  for (const { reads, each } of [
    { reads: 1, each: 16 },
    { reads: 2, each: 8 },
    { reads: 5, each: 3 },
    { reads: 9, each: 2 },
  ]) {
    const budget = new ReadAhead();
    const all = Array.from({ length: reads }, () => {
      const locations = source(BLOB.length);
      return { locations, read: open(locations, BLOB.length, { budget }) };
    });
    const readers = all.map(({ read }) => new Reader(read));
    await settled();
    for (const { locations } of all) assert.is(locations.open.length, each, `${reads} reads`);
    // Those that go on take over what the others leave.
    for (const { read } of all.slice(1)) read.close();
    all[0]?.read.kept(0);
    await settled();
    assert.is(all[0]?.locations.open.length, 16);
    all[0]?.read.close();
    for (const reader of readers) await rejects('CANCELLED', () => finished(reader.whole));
  }
});

test('what one read does not use of its share, the others take, and give back', async () => {
  const size = BLOB.length;
  const budget = new ReadAhead();
  const [slow, fast] = [source(size, MiB), source(size, MiB)];
  const slowRead = open(slow, size, { budget });
  const fastReader = new Reader(open(fast, size, { budget, transient: true }));
  const slowBytes = slowRead.bytes();
  let taken = slowBytes.next();
  await settled();
  assert.equal([slow.open.length, fast.open.length], [8, 8]);
  // The slow one takes nothing: all that it may read ahead comes, and then nothing is on its way there.
  slow.onCall = call => call.give();
  for (const call of slow.open) call.give();
  await taken;
  await settled();
  assert.is(slow.open.length, 0);
  // The fast one notices with its next stripe.
  first(fast, 0).give();
  await settled();
  assert.is(fast.open.length, 16);
  slow.onCall = () => {};
  for (let i = 0; i < 20; i++) taken = slowBytes.next();
  await taken;
  slowRead.kept(20 * MiB);
  await settled();
  assert.is(slow.open.length, 8, 'its share is there for it at any time');
  for (const call of fast.open.slice(0, 8)) call.give();
  await settled();
  assert.is(fast.open.length, 8);
  slowRead.close();
  fast.onCall = call => call.give();
  for (const call of fast.open) call.give();
  assert.is((await finished(fastReader.whole)).length, size);
});

test('where bytes come without gaps there are no more than sixteen', async () => {
  const size = BLOB.length;
  const locations = source(size, MiB);
  const reader = new Reader(open(locations, size, { transient: true }));
  while (reader.at < size) {
    await settled();
    assert.ok(locations.open.length <= 16, `${locations.open.length} are on their way`);
    for (const call of locations.open.slice(0, 8)) call.give();
    await settled();
  }
  await finished(reader.whole);
});

test('where bytes come with gaps, as over connections that lose packets, there are 36', async () => {
  const size = BLOB.length;
  const locations = source(size, MiB / 2);
  locations.onCall = call => call.open();
  const budget = new ReadAhead();
  pastFirstStripes(budget);
  const reader = new Reader(open(locations, size, { transient: true, budget }));
  await settled();
  assert.is(locations.open.length, 16);
  // It is decided after three rounds of sixteen, if none of them was asked for twice.
  while (locations.open.length <= 16 && reader.at < 70 * MiB) {
    const calls = locations.open;
    for (const call of calls) call.give(MiB / 2);
    await sleep(100);
    for (const call of calls) call.give();
    await settled();
  }
  assert.is(locations.open.length, 36);
});

/** The calls that ask again for what one of the first `count` asks for. */
function again(locations: ScriptedSource, count: number): ScriptedCall[] {
  const ends = locations.calls.slice(0, count).map(({ end }) => end);
  return locations.calls.slice(count).filter(({ end }) => ends.includes(end));
}

test('a stripe that hangs is asked for again once four behind it are complete, from where it hangs', async () => {
  const size = 24 * MiB + 3;
  const locations = source(size);
  const read = open(locations, size, { transient: true });
  const reader = new Reader(read);
  await settled();
  const late = first(locations, 0);
  late.give(700_000);
  for (const index of [1, 5, 9]) first(locations, index).give();
  await sleep(500);
  assert.equal(again(locations, 16), [], 'three are not enough');
  first(locations, 15).give();
  await soon('a second call', async () => assert.is(again(locations, 16).length, 1));
  const [second] = again(locations, 16);
  assert.is(second?.offset, 700_000);
  assert.is(reader.at, 700_000);
  // Both bring the same bytes by turns: each counts once.
  second?.give(100_000);
  await settled();
  late.give(50_000);
  await settled();
  assert.is(reader.at, 800_000);
  late.give(200_000);
  await settled();
  assert.is(reader.at, 950_000);
  assert.not(late.isCancelled);
  second?.give();
  await settled();
  assert.ok(late.isCancelled, 'the loser is cancelled');
  locations.onCall = call => call.give();
  for (const call of locations.open) call.give();
  assert.ok((await finished(reader.whole)).equals(BLOB.subarray(0, size)));
  assert.is(read.readBytes, size + 250_000, 'what came twice counts twice');
});

test('stripes come one after another over their connection, but not what is late already', async () => {
  const locations = source(BLOB.length);
  const reader = new Reader(open(locations, BLOB.length));
  await settled();
  for (const call of locations.calls.slice(1)) call.give();
  await soon('a second call', async () => assert.is(again(locations, 16).length, 1));
  const [second] = again(locations, 16);
  for (const call of locations.calls) assert.is(call.inTurn, call !== second);
  locations.onCall = call => call.give();
  for (const call of locations.open) call.give();
  assert.ok((await finished(reader.whole)).equals(BLOB));
});

test('over a link that is so slow that they take longer than a second, they share their connection', async () => {
  const size = 30 * MiB;
  const locations = source(size);
  const reader = new Reader(open(locations, size));
  await sleep(1_100);
  locations.onCall = call => call.give();
  for (const call of locations.open) call.give();
  assert.ok((await finished(reader.whole)).equals(BLOB.subarray(0, size)));
  // Those that come at once afterwards bring the average down again.
  for (const call of locations.calls.slice(0, 16)) assert.ok(call.inTurn);
  assert.not(first(locations, 16).inTurn);
});

test('at the end of a blob a stripe that hangs is asked for again without four behind it', async () => {
  for (const hanging of [0, 1, 2]) {
    const size = 2 * MiB + 7;
    const locations = source(size);
    locations.onCall = call => locations.calls.length - 1 !== hanging && call.give();
    const reader = new Reader(open(locations, size));
    assert.ok((await finished(reader.whole)).equals(BLOB.subarray(0, size)));
    assert.is(again(locations, 3).length, 1);
    assert.ok(first(locations, hanging).isCancelled);
  }
});

test('at the end of a blob nothing is asked for again while bytes come: it waits behind what others read', async () => {
  const size = 4 * MiB;
  const locations = source(size, 1_000);
  const read = open(locations, size);
  const reader = new Reader(read);
  // So that they usually take a second: on a crowded machine this one may stand still for a while itself.
  await sleep(1_000);
  first(locations, 3).give();
  for (let passed = 0; passed < 2_500; passed += 50) {
    for (const call of locations.calls.slice(0, 3)) call.give(1_000);
    await sleep(50);
  }
  assert.is(locations.calls.length, 4);
  for (const call of locations.calls) call.give();
  assert.ok((await finished(reader.whole)).equals(BLOB.subarray(0, size)));
  assert.is(read.readBytes, size);
});

test('nothing is asked for again before any stripe has come: over a slow link all are late', async () => {
  const size = 4 * MiB;
  const locations = source(size);
  const reader = new Reader(open(locations, size));
  await sleep(600);
  assert.is(locations.calls.length, 4);
  for (const call of locations.calls) call.give();
  assert.ok((await finished(reader.whole)).equals(BLOB.subarray(0, size)));
});

test('no more than three are asked for again at a time, the first ones first', async () => {
  const size = 16 * MiB;
  const locations = source(size);
  const read = open(locations, size);
  const reader = new Reader(read);
  await settled();
  for (const call of locations.calls.slice(8)) call.give();
  const asked = () => again(locations, 16).map(({ offset }) => offset / MiB);
  await soon('three', async () => assert.equal(asked(), [0, 1, 2]));
  await sleep(300);
  assert.equal(asked(), [0, 1, 2]);
  first(locations, 16).give();
  await soon('a fourth', async () => assert.equal(asked(), [0, 1, 2, 3]));
  locations.onCall = call => call.give();
  for (const call of again(locations, 16)) call.give();
  assert.ok((await finished(reader.whole)).equals(BLOB.subarray(0, size)));
  for (const call of locations.calls.slice(0, 8)) assert.ok(call.isCancelled);
});

test('the failure of a stripe is thrown where its bytes would have come, and others are cancelled', async () => {
  const size = 20 * MiB;
  const locations = source(size);
  const budget = new ReadAhead();
  const reader = new Reader(open(locations, size, { budget }));
  await settled();
  first(locations, 2).refuse(digest);
  await settled();
  first(locations, 0).give();
  await settled();
  assert.is(reader.at, MiB);
  first(locations, 1).give();
  const error = await finished(reader.whole.catch(thrown => thrown));
  assert.instance(error, BlobUnavailable);
  assert.is(reader.at, 2 * MiB);
  assert.equal(locations.open, []);
  assert.is(freeIn(budget), 64);
});

test('the failure of one call of two is none', async () => {
  for (const failing of ['the first', 'the second']) {
    const size = 3 * MiB;
    const locations = source(size);
    const read = open(locations, size);
    const reader = new Reader(read);
    await settled();
    for (const call of locations.calls.slice(1)) call.give();
    await soon('a second call', async () => assert.is(again(locations, 3).length, 1));
    const calls = [first(locations, 0), first(locations, 3)];
    const [bad, good] = failing === 'the first' ? calls : calls.toReversed();
    bad?.refuse(digest);
    await settled();
    good?.give();
    assert.ok((await finished(reader.whole)).equals(BLOB.subarray(0, size)), failing);
  }
});

test('who closes cancels what is on its way, also what is asked for twice, and gives the budget back', async () => {
  const closings: Record<string, (read: StripedRead, abort: AbortController) => void> = {
    close: read => read.close(),
    'an aborted signal': (_, abort) => abort.abort(),
  };
  for (const [name, close] of Object.entries(closings)) {
    const locations = source(BLOB.length);
    const budget = new ReadAhead();
    const abort = new AbortController();
    const read = open(locations, BLOB.length, { budget, context: { signal: abort.signal } });
    const reader = new Reader(read);
    await settled();
    for (const index of [1, 2, 3, 4, 5, 12]) first(locations, index).give();
    await soon('a second call', async () => assert.is(again(locations, 16).length, 1));
    const stripes = locations.askedFor / MiB;
    assert.is(freeIn(budget), 64 - (stripes - 8));
    assert.is(budget.readers, 1);
    close(read, abort);
    assert.equal(locations.open, [], name);
    read.close();
    read.kept(10 * MiB);
    await rejects('CANCELLED', () => finished(reader.whole));
    assert.is(freeIn(budget), 64, name);
    assert.is(budget.readers, 0);
    assert.is(locations.calls.length, stripes + 1, 'nothing is asked for afterwards');
  }
});

test('a read that is cancelled before it begins asks for nothing', async () => {
  const locations = source(MiB);
  const budget = new ReadAhead();
  const read = open(locations, MiB, { budget, context: { signal: AbortSignal.abort() } });
  await rejects('CANCELLED', () => finished(new Reader(read).whole));
  assert.equal(locations.calls, []);
  assert.is(budget.readers, 0);
});

test('the budget is given back once, in whatever moment the read is closed', async () => {
  const size = 12 * MiB;
  for (let moment = 0; moment < 60; moment++) {
    const locations = source(size, MiB);
    const budget = new ReadAhead();
    const read = open(locations, size, { budget });
    const bytes = read.bytes();
    locations.onCall = call => call.give();
    // Ten of twelve are here, and have used up four of the budget; the eleventh is asked for.
    for (let i = 0; i < 10; i++) await bytes.next();
    const next = bytes.next().catch(() => {});
    for (let i = 0; i < moment; i++) await null;
    read.close();
    await next;
    await bytes.return(undefined);
    assert.is(freeIn(budget), 64, `after ${moment} moments`);
  }
});

test('eight stripes need no budget', async () => {
  const budget = new ReadAhead();
  while (budget.take());
  const size = 30 * MiB;
  const locations = source(size, MiB);
  const reader = new Reader(open(locations, size, { budget }));
  while (reader.at < size) {
    await settled();
    const stripes = new Set(locations.open.map(({ end }) => end)).size;
    assert.is(stripes, Math.min(8, Math.ceil((size - reader.at) / MiB)));
    locations.open[0]?.give();
    await settled();
  }
  assert.ok((await finished(reader.whole)).equals(BLOB.subarray(0, size)));
  assert.is(freeIn(budget), 0);
});

test.run();
