/** How a large copy goes on when a worker has died that had not written down how far it was. */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import type { Locations } from '../../lib/locations/locations.js';
import type { RemoteStore } from '../../lib/locations/store.js';
import { SEGMENT_BYTES } from '../../lib/locations/striped.js';
import { digestOf } from '../../lib/oci/digest.js';
import { Crossing } from '../../worker/crossing/crossing.js';
import { RingMemory } from '../../worker/crossing/ring.js';
import { copyLarge } from '../../worker/replicate/large.js';
import { Throttle } from '../../worker/replicate/throttle.js';
import { ScriptedSource } from '../locations/scripted-source.js';
import { pattern } from '../support/bytes.js';
import type { Metadata } from '../support/clients.js';
import type { Stack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { finished, soon } from '../support/wait.js';
import { claimCopies, putBlob, startTwoLocations, storeOf, upTo } from './copying.js';
import { ScriptedReplication, ScriptedTarget, TargetLocation } from './scripted-target.js';

const test = suite('worker: large copies that go on', { timeoutMs: 60_000 });
const MiB = 1024 * 1024;
const SIZE = 40 * MiB;
/** The first worker dies here. */
const DEAD_AT = 30 * MiB;
/** What the target may not have acknowledged by then. */
const UNACKNOWLEDGED = 5 * MiB;

let stack: Stack;
let m: Metadata;
let locations: Locations;

test.before(async () => {
  ({ stack, m, locations } = await startTwoLocations());
});

/** Has a copy break off in the middle, with nothing but its first checkpoint on record; answers how far that is. */
async function breakOff(): Promise<number> {
  const { copies, jobs } = await claimCopies(m, locations, 'eustorage');
  const [job] = jobs;
  assert.ok(job);
  const eu = storeOf(locations, 'eustorage');
  const append = eu.append.bind(eu);
  const save = m.replication.checkpoint.bind(m.replication);
  m.replication.checkpoint = async (lease, checkpoint, first) => {
    if (!first) throw new Error('the worker died before');
    return save(lease, checkpoint, first);
  };
  eu.append = (session, source, ...rest) => append(session, upTo(DEAD_AT, source), ...rest);
  try {
    await finished(copies.one(job), 20_000);
  } finally {
    eu.append = append;
    m.replication.checkpoint = save;
  }
  const [row] = await m.db.query('update replication set next_attempt_at = now() returning bytes_done::int as done');
  return Number(row?.done);
}

/** Where a store is read from on while `work` runs. */
async function readFrom(store: RemoteStore, work: () => Promise<void>): Promise<number> {
  const read = store.read.bind(store);
  let first = Number.POSITIVE_INFINITY;
  store.read = (digest, range, context) => {
    first = Math.min(first, range.offset);
    return read(digest, range, context);
  };
  try {
    await work();
  } finally {
    store.read = read;
  }
  return first;
}

for (const dies of ['alone', 'together with the target’s node']) {
  test(`a worker dies ${dies}`, async () => {
    const digest = await putBlob(m, locations, 'usstorage', randomBytes(SIZE));
    const onRecord = await breakOff();
    assert.ok(onRecord > 0 && onRecord < 10 * MiB, `${onRecord} bytes are on record`);
    if (dies !== 'alone') {
      await stack.kill('storage-proxy-eu');
      await stack.start('storage-proxy-eu');
      await soon('the node is back', async () => assert.ok(locations.get('eustorage')?.serves('write')));
    }
    const { copies, jobs } = await claimCopies(m, locations, 'eustorage');
    const [job] = jobs;
    assert.ok(job);
    const from = await readFrom(storeOf(locations, 'usstorage'), () => finished(copies.one(job), 20_000));
    if (dies === 'alone') assert.ok(from >= DEAD_AT - UNACKNOWLEDGED && from <= DEAD_AT, `it went on from ${from}`);
    else assert.is(from, onRecord, 'it went on from what is on record');
    assert.is(await storeOf(locations, 'eustorage').stat(digest), SIZE);
    assert.equal(await m.db.query('select 1 from replication'), []);
  });
}

/** A database that gives no answer. */
class SilentReplication extends ScriptedReplication {
  override checkpoint(): Promise<boolean> {
    return new Promise(() => {});
  }
}

test('nothing is asked for that lies nine and a half segments behind what is on record, however much the target has', async () => {
  const blob = pattern(80 * MiB, 4);
  const source = new ScriptedSource(blob);
  source.onCall = call => call.give();
  const most = 9.5 * SEGMENT_BYTES;
  const stop = new AbortController();
  let askedFor = 0;
  const target = new ScriptedTarget(async at => {
    if (at < most) return;
    askedFor = source.askedFor;
    stop.abort();
  });
  const job = {
    ...{ id: '1', token: '', digest: digestOf(blob), size: blob.length, target: 'target', sources: ['scripted'] },
    ...{ attempts: 1, checkpoint: undefined, traceId: undefined, cause: undefined, signal: stop.signal },
  };
  const copy = copyLarge({
    ...{ locations: source, target: new TargetLocation(target), replication: new SilentReplication(), job },
    ...{ crossing: new Crossing(blob.length, new RingMemory()), throttle: new Throttle(), suspects: new Set<string>() },
    readBytes: 0,
  });
  copy.catch(() => {});
  await soon('the target has all that it can get', async () => assert.ok(askedFor > 0));
  assert.is(askedFor, most);
});

test.run();
