/** A batch whose source goes away while it is waited for: it is given up at once, and the next source is asked. */
import * as assert from 'uvu/assert';
import { Location } from '../../lib/locations/location.js';
import { Locations } from '../../lib/locations/locations.js';
import { type BatchItem, RemoteStore, type StoreContext } from '../../lib/locations/store.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { fail, hasReason } from '../../lib/rpc/errors.js';
import { copyBatch } from '../../worker/replicate/batch.js';
import type { HeldJob } from '../../worker/replicate/leases.js';
import { quiet } from '../support/clients.js';
import { suite } from '../support/suite.js';
import { finished, until } from '../support/wait.js';

const test = suite('worker: sources of batches');
const BLOB = Buffer.from('a small blob');
const digest = digestOf(BLOB);
const signal = new AbortController().signal;

/** A store that answers batches, or does not answer until it is asked no more. */
class Store extends RemoteStore {
  readonly answers: boolean;
  asked = 0;
  written = 0;
  deadlineMs: number | undefined;

  constructor(location: Location, answers: boolean) {
    super(location);
    this.answers = answers;
  }
  override readBatch(
    digests: Digest[],
    context?: StoreContext | AbortSignal,
    deadlineMs?: number,
  ): Promise<BatchItem<Buffer>[]> {
    this.asked++;
    this.deadlineMs = deadlineMs;
    if (this.answers) return Promise.resolve(digests.map(() => ({ value: BLOB })));
    const its = context instanceof AbortSignal ? context : context?.signal;
    return new Promise((_resolve, reject) => its?.addEventListener('abort', () => reject(fail.cancelled())));
  }
  override async writeBatch(blobs: { digest: Digest; data: Buffer }[]): Promise<BatchItem<void>[]> {
    this.written += blobs.length;
    return blobs.map(() => ({ value: undefined }));
  }
}
class Told extends Location {
  override readonly store: Store;
  isHealthy = true;

  constructor(name: string, answers: boolean) {
    super(name, []);
    this.store = new Store(this, answers);
  }
  override serves(): boolean {
    return this.isHealthy;
  }
}
class ToldLocations extends Locations {
  override readonly all: readonly Told[];

  constructor(all: readonly Told[]) {
    super({ locations: [], preference: [], identify: async () => true, log: quiet });
    this.all = all;
  }
}

function jobFrom(...sources: readonly Told[]): HeldJob {
  return {
    ...{ id: '1', token: '', digest, size: BLOB.length, target: 'target', sources: sources.map(({ name }) => name) },
    ...{ attempts: 1, checkpoint: undefined, traceId: undefined, cause: undefined, signal },
  };
}

test('a source that goes away in the middle is left for the next one', async () => {
  const [silent, other, target] = [new Told('silent', false), new Told('other', true), new Told('target', true)];
  const locations = new ToldLocations([silent, other]);
  const copying = copyBatch(locations, target, [jobFrom(silent, other)], signal);
  assert.ok(await until(() => silent.store.asked === 1, 10_000));
  assert.is(other.store.asked, 0);
  silent.isHealthy = false;
  const [outcome] = await finished(copying);
  assert.is(outcome?.error, undefined);
  assert.equal([other.store.asked, target.store.written], [1, 1]);
});

test('where there is no other, the copy fails, and says that its source is away', async () => {
  const [silent, target] = [new Told('silent', false), new Told('target', true)];
  const copying = copyBatch(new ToldLocations([silent]), target, [jobFrom(silent)], signal);
  assert.ok(await until(() => silent.store.asked === 1, 10_000));
  silent.isHealthy = false;
  const [outcome] = await finished(copying);
  assert.ok(hasReason(outcome?.error, 'STORE_UNREACHABLE'), String(outcome?.error));
  assert.match(String(outcome?.error), 'silent is away');
});

test('one that nobody knows to be healthy is waited for all the same, and given up once it was, and is not', async () => {
  const [silent, target] = [new Told('silent', false), new Told('target', true)];
  silent.isHealthy = false;
  let isOver = false;
  const copying = copyBatch(new ToldLocations([silent]), target, [jobFrom(silent)], signal).finally(() => {
    isOver = true;
  });
  await new Promise(resolve => setTimeout(resolve, 700));
  assert.not(isOver);
  silent.isHealthy = true;
  await new Promise(resolve => setTimeout(resolve, 700));
  assert.not(isOver);
  silent.isHealthy = false;
  await finished(copying);
});

test('what can only come from one source is given five minutes, as it takes over a slow link; else a batch has its usual time', async () => {
  const [one, other, target] = [new Told('one', true), new Told('other', true), new Told('target', true)];
  const locations = new ToldLocations([one, other]);
  for (const [sources, deadlineMs] of [
    [[one], 300_000],
    [[one, target], 300_000],
    [[one, other], undefined],
  ] as const) {
    await copyBatch(locations, target, [jobFrom(...sources)], signal);
    assert.is(one.store.deadlineMs, deadlineMs);
  }
});

test.run();
