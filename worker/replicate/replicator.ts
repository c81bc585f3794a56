/**
 * Turns "this blob must also be there" into done.
 *
 * A loop claims what is due for this worker's locations, small blobs by the hundred and large ones one for each free
 * slot, and starts their copies as slots are free: that bounds the memory that they take together; it sleeps when there is nothing to do or no slot is free, and wakes when a gateway
 * says that something was queued, when a slot becomes free, when a postponed copy is due, and every few seconds anyway.
 */
import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import type { ClaimOne, Job, Replication } from '../../lib/metadata/replication.js';
import type { Digest } from '../../lib/oci/digest.js';
import type { Crossings, Way } from '../crossing/crossings.js';
import { retryDelayMs } from './backoff.js';
import { copyBatch, intoBatches, type Outcome, SMALL_BLOB_BYTES } from './batch.js';
import { copyLarge, findDamaged } from './large.js';
import { type HeldJob, Leases } from './leases.js';
import { Wake } from './wake.js';

const POLL_MS = 5_000;

/** Small blobs claimed at a time. */
const SMALL_AT_ONCE = 500;

export interface ReplicatorOptions {
  readonly replication: Replication;
  readonly locations: Locations;
  /** The names of the locations that this worker copies to. */
  readonly targets: readonly string[];
  /** How many copies run at a time; a batch of small blobs counts as one. */
  readonly concurrency: number;
  /** Where the bytes of copies can be followed on their way. */
  readonly crossings: Crossings;
  readonly log: Logger;
}

export class Replicator {
  readonly #options: ReplicatorOptions;
  readonly #leases: Leases;
  readonly #wake = new Wake();
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<undefined>>();
  /** Batches that are claimed, and wait for a slot. */
  readonly #waiting: HeldJob[][] = [];
  readonly #loop: Promise<void>;

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    // Every copy that runs listens to it; that many listeners are no leak.
    setMaxListeners(0, this.#stop.signal);
    this.#leases = new Leases(options.replication, options.log);
    this.#loop = this.#run();
  }

  /** Something may have been queued. */
  wake(): void {
    this.#wake.now();
  }

  /**
   * Makes one copy now, without waiting for a slot, because somebody waits for it; the caller bounds how many. Resolves
   * once it is over, well or not, or to why it was not begun.
   */
  async copyAsked({ digest, target }: Way): Promise<Exclude<ClaimOne, { kind: 'claimed' }> | undefined> {
    const job = this.#takeWaiting(digest, target);
    if (job) return this.#start(() => this.#copyOne(job));
    const claim = await this.#options.replication.claimOne(digest, target);
    if (claim.kind !== 'claimed') return claim;
    for (const held of this.#hold([claim.job])) await this.#start(() => this.#copyOne(held));
    return undefined;
  }

  /**
   * Claims nothing more, and cancels what runs: large copies go on from their checkpoint elsewhere, so nothing is
   * gained by waiting for them.
   */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.now();
    this.#leases.cancelAll();
    await this.#loop;
    await Promise.all(this.#running);
    await this.#giveBackWaiting();
    this.#leases.close();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      let sleepMs = POLL_MS;
      try {
        const started = await this.#startSome();
        if (started) continue;
        if (this.#freeSlots() > 0) {
          sleepMs = Math.min(POLL_MS, (await this.#options.replication.nextDueMs(this.#options.targets)) ?? POLL_MS);
        }
      } catch (error) {
        this.#options.log.warn({ err: error }, 'cannot ask for copies to make, and tries again');
      }
      await this.#wake.within(Math.max(sleepMs, 20));
    }
  }

  /** Claims what fits into the free slots and starts it. Whether there was anything. */
  async #startSome(): Promise<boolean> {
    const { replication, targets } = this.#options;
    this.#startWaiting();
    if (this.#freeSlots() === 0) return false;
    const small = await replication.claim(targets, { limit: SMALL_AT_ONCE, minSize: 0, maxSize: SMALL_BLOB_BYTES });
    this.#waiting.push(...intoBatches(this.#hold(small)));
    this.#startWaiting();

    const free = this.#freeSlots();
    if (free <= 0) return small.length > 0;
    const large = await replication.claim(targets, {
      limit: free,
      minSize: SMALL_BLOB_BYTES + 1,
      maxSize: Number.MAX_SAFE_INTEGER,
    });
    for (const job of this.#hold(large)) this.#start(() => this.#copyOne(job));
    return small.length + large.length > 0;
  }

  #startWaiting(): void {
    while (this.#freeSlots() > 0) {
      const batch = this.#waiting.shift();
      if (!batch) return;
      this.#start(() => this.#copySmall(batch));
    }
  }

  /** Takes a job out of the batch in which it waits for a slot. */
  #takeWaiting(digest: Digest, target: string): HeldJob | undefined {
    for (const batch of this.#waiting) {
      const at = batch.findIndex(job => job.digest === digest && job.target === target);
      if (at >= 0) return batch.splice(at, 1)[0];
    }
    return undefined;
  }

  async #giveBackWaiting(): Promise<void> {
    const jobs = this.#waiting.splice(0).flat();
    if (jobs.length === 0) return;
    await this.#options.replication.giveBack(jobs).catch(error => {
      this.#options.log.warn({ err: error }, 'claims could not be given back, and run out by themselves');
    });
    for (const job of jobs) this.#leases.drop(job);
  }

  #hold(jobs: readonly Job[]): HeldJob[] {
    const held = jobs.map(job => this.#leases.hold(job));
    if (this.#stop.signal.aborted) this.#leases.cancelAll();
    return held;
  }

  #freeSlots(): number {
    return Math.max(0, this.#options.concurrency - this.#running.size);
  }

  #start(copy: () => Promise<void>): Promise<undefined> {
    const running: Promise<undefined> = copy()
      .catch(error => this.#options.log.error({ err: error }, 'the outcome of a copy could not be recorded'))
      .then(() => undefined)
      .finally(() => {
        this.#running.delete(running);
        this.#wake.now();
      });
    this.#running.add(running);
    return running;
  }

  async #copySmall(jobs: readonly HeldJob[]): Promise<void> {
    const { crossings, locations } = this.#options;
    const target = locations.get(jobs[0]?.target ?? '');
    const onTheWay = new Map(jobs.map(job => [job.digest, crossings.begin(job)]));
    const publish = (digest: Digest, bytes: Buffer) => onTheWay.get(digest)?.publishWhole(bytes);
    const outcomes = target
      ? await copyBatch(locations, target, jobs, this.#stop.signal, publish)
      : jobs.map(job => ({ job, error: notConfigured(job), damaged: [] }));
    for (const { job, error } of outcomes) {
      const crossing = onTheWay.get(job.digest);
      if (crossing) crossings.settle(job, crossing, { kind: error === undefined ? 'stored' : 'failed' });
    }
    await this.#settle(outcomes);
  }

  async #copyOne(job: HeldJob): Promise<void> {
    const { crossings, locations, replication } = this.#options;
    const target = locations.get(job.target);
    if (!target) return this.#settle([{ job, error: notConfigured(job), damaged: [] }]);
    const crossing = crossings.begin(job);
    const copy = { locations, replication, target, job, crossing, suspects: new Set<string>() };
    const error = await copyLarge(copy).then(
      () => undefined,
      failure => failure,
    );
    crossings.settle(job, crossing, { kind: error === undefined ? 'stored' : 'failed' });
    await this.#settle([{ job, error, damaged: await findDamaged(copy, error) }]);
  }

  /** Records what became of the jobs. If that fails, their claims run out and they are made again. */
  async #settle(outcomes: readonly Outcome[]): Promise<void> {
    const { replication, log } = this.#options;
    try {
      const done = outcomes.filter(outcome => outcome.error === undefined).map(outcome => outcome.job);
      if (done.length > 0) await replication.complete(done);
      for (const { digest, size, target, traceId } of done) log.info({ digest, size, target, traceId }, 'copied');

      for (const { job, error, damaged } of outcomes) {
        const mended = await this.#distrust(job, damaged);
        if (error === undefined) continue;
        if (this.#stop.signal.aborted) await replication.giveBack([job]);
        // With a bad source out of the way, the next one can be asked at once.
        else if (!job.signal.aborted) await this.#postpone(job, error, mended ? 0 : retryDelayMs(job.attempts));
      }
    } finally {
      for (const { job } of outcomes) this.#leases.drop(job);
    }
  }

  /** Has damaged copies made anew from a good one. Whether one of them will be. */
  async #distrust({ digest, traceId }: HeldJob, damaged: readonly string[]): Promise<boolean> {
    const { log, replication } = this.#options;
    let mended = false;
    for (const location of damaged) {
      if (await replication.distrust(digest, location, 'the copy here was damaged')) {
        log.error({ digest, location, traceId }, 'a copy is damaged; it will be made again from another location');
        mended = true;
      } else {
        log.error({ digest, location, traceId }, 'the only verified copy is damaged; push the blob again to mend it');
      }
    }
    return mended;
  }

  async #postpone(job: HeldJob, error: unknown, delayMs: number): Promise<void> {
    const reason = error instanceof Error ? error.message : String(error);
    await this.#options.replication.postpone(job, delayMs, reason);
    this.#options.log.warn(
      { digest: job.digest, target: job.target, traceId: job.traceId, attempts: job.attempts, retryInMs: delayMs },
      `a copy failed and will be tried again: ${reason}`,
    );
  }
}

function notConfigured(job: Job): Error {
  return new Error(`${job.target} is not in this worker's DISTRIBUTED_STORAGE_CONFIG`);
}
