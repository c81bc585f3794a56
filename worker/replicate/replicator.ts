/**
 * Turns "this blob must also be there" into done.
 *
 * A loop claims what is due, from the queues that have slots free (slots.ts) and whose two locations can be used now, and
 * starts the copies. It sleeps when there is nothing to do, and wakes when a gateway says that something was queued, when
 * a slot becomes free, when a location can be used again, when a postponed copy is due, and every few seconds anyway.
 */
import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import type { ClaimOne, Job, Replication } from '../../lib/metadata/replication.js';
import type { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import type { Crossings } from '../crossing/crossings.js';
import { intoBatches } from './batch.js';
import { Copies } from './copies.js';
import { HealthWatch } from './health-watch.js';
import { type HeldJob, Leases } from './leases.js';
import { Outcomes } from './outcomes.js';
import { idleQueues, roomsIn, type Usable, usableQueues } from './queues.js';
import { Refiler } from './refiler.js';
import type { Target } from './roster.js';
import { type QueueSlots, Slots } from './slots.js';
import { divide, inOrder } from './sources.js';
import { Throttle } from './throttle.js';
import { Wake } from './wake.js';

const POLL_MS = 5_000;
const SHORTEST_SLEEP_MS = 20;

export interface ReplicatorOptions {
  readonly replication: Replication;
  readonly locations: Locations;
  /** The locations that this worker copies to now, and those that nobody copies to (roster.ts). */
  readonly roster: { readonly targets: readonly Target[]; readonly paused: readonly string[] };
  /** How many large blobs, and how many batches of small ones, are copied at a time from one location to another. */
  readonly concurrency: number;
  /** Where the bytes of copies can be followed on their way. */
  readonly crossings: Crossings;
  readonly metrics: WorkerMetrics;
  readonly log: Logger;
}

export class Replicator {
  readonly #options: ReplicatorOptions;
  readonly #leases: Leases;
  readonly #copies: Copies;
  readonly #refiler: Refiler;
  readonly #health: HealthWatch;
  readonly #slots: Slots;
  readonly #wake = new Wake();
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #loop: Promise<void>;
  #turn = 0;

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    const ending = this.#stop.signal;
    // Every copy that runs listens to it; that many listeners are no leak.
    setMaxListeners(0, ending);
    this.#leases = new Leases(options.replication, options.log, {
      onProgress: (target, bytes) => options.metrics.checkpointedBytes.inc({ target }, bytes),
    });
    const outcomes = new Outcomes({ ...options, leases: this.#leases, ending });
    const unlimited = new Throttle();
    const throttleOf = (name: string) => this.#target(name)?.throttle ?? unlimited;
    this.#copies = new Copies({ ...options, outcomes, throttleOf, ending });
    this.#refiler = new Refiler(options.replication);
    this.#slots = new Slots(options.concurrency);
    this.#health = new HealthWatch(options.locations.all, () => this.wake());
    this.#loop = this.#run();
  }

  /** Something may have been queued, or become possible. */
  wake(): void {
    this.#wake.now();
  }

  /**
   * Makes one copy now, without waiting for a slot, because somebody waits for it; the caller bounds how many. Resolves
   * once it is over, well or not, or to why it was not begun.
   */
  async copyAsked({
    digest,
    target,
  }: Pick<Job, 'digest' | 'target'>): Promise<Exclude<ClaimOne, { kind: 'claimed' }> | undefined> {
    const waiting = this.#slots.takeWaiting(digest, target);
    const claim = waiting ? undefined : await this.#options.replication.claimOne(digest, target);
    if (claim && claim.kind !== 'claimed') return claim;
    const job = waiting ?? (claim && this.#hold([claim.job])[0]);
    if (job) await this.#track(this.#copies.one(inOrder(job, this.#options.locations)));
    return undefined;
  }

  /**
   * Claims nothing more, and cancels what runs: large copies go on from their checkpoint elsewhere, so nothing is
   * gained by waiting for them.
   */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#health.close();
    this.#wake.now();
    this.#leases.cancelAll();
    await this.#loop;
    await Promise.all(this.#running);
    for (const queue of this.#slots.all) await this.#giveBack(queue);
    this.#leases.close();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      let sleepMs = POLL_MS;
      try {
        const usable = this.#usable();
        this.#leases.pause(this.#options.roster.paused);
        await this.#giveBackStranded(usable);
        if (await this.#claimSome(usable)) continue;
        sleepMs = await this.#untilNextMs();
      } catch (error) {
        this.#options.log.warn({ err: error }, 'cannot ask for copies to make, and tries again');
      }
      await this.#wake.within(Math.max(SHORTEST_SLEEP_MS, Math.min(sleepMs, POLL_MS)));
    }
  }

  #usable(): Usable[] {
    const { roster, locations } = this.#options;
    return usableQueues(roster.targets, locations, this.#slots);
  }

  /** Claims what fits into the free slots and starts it. Whether there was anything. */
  async #claimSome(usable: readonly Usable[]): Promise<boolean> {
    this.#startWaiting();
    this.#turn++;
    const rounds = Math.max(0, ...usable.map(({ queues }) => queues.length));
    let found = false;
    for (let round = 0; round < rounds && !this.#stop.signal.aborted; round++) {
      const rooms = usable.flatMap(each => roomsIn(each, this.#slots, this.#turn, round));
      if (rooms.length === 0) continue;
      const jobs = this.#hold(await this.#options.replication.claim(rooms));
      for (const [queue, its] of divide(jobs, this.#slots, this.#options.locations))
        queue.waiting.push(...(queue.large ? its.map(job => [job]) : intoBatches(its)));
      this.#startWaiting();
      found ||= jobs.length > 0;
    }
    return found;
  }

  /** After nothing was found to claim: how long to sleep. */
  async #untilNextMs(): Promise<number> {
    const idle = idleQueues(this.#usable(), this.#slots);
    if (idle.length === 0) return POLL_MS;
    if (await this.#refiler.step(idle.filter(queue => queue.source !== undefined))) return 0;
    const dueMs = await this.#options.replication.nextDueMs(idle);
    return Math.min(this.#refiler.waitMs, dueMs ?? POLL_MS);
  }

  #hold(jobs: readonly Job[]): HeldJob[] {
    const held = jobs.map(job => this.#leases.hold(job));
    if (this.#stop.signal.aborted) this.#leases.cancelAll();
    return held;
  }

  #startWaiting(): void {
    if (this.#stop.signal.aborted) return;
    for (const queue of this.#slots.all) {
      const limit = this.#target(queue.target)?.slots ?? Number.POSITIVE_INFINITY;
      while (this.#slots.running(queue.target) < limit) {
        const jobs = queue.next();
        if (!jobs) break;
        this.#start(queue, jobs);
      }
    }
  }

  #start(queue: QueueSlots, jobs: readonly HeldJob[]): void {
    queue.running++;
    const copies = queue.large ? jobs.map(job => this.#copies.one(job)) : [this.#copies.batch(jobs)];
    void this.#track(Promise.all(copies)).finally(() => {
      queue.running--;
      this.#wake.now();
    });
  }

  /** Sees to it that the end of this worker waits for a copy. Resolves when it is over, and never rejects. */
  async #track(copy: Promise<unknown>): Promise<void> {
    const over = copy.then(
      () => {},
      error => this.#options.log.error({ err: error }, 'the outcome of a copy could not be recorded'),
    );
    this.#running.add(over);
    await over;
    this.#running.delete(over);
  }

  /** What waits for a slot where nothing can be copied now may be possible for another worker, or from elsewhere. */
  async #giveBackStranded(usable: readonly Usable[]): Promise<void> {
    const queues = new Set(usable.flatMap(each => each.queues));
    for (const queue of this.#slots.all) if (!queues.has(queue)) await this.#giveBack(queue);
  }

  async #giveBack(queue: QueueSlots): Promise<void> {
    const jobs = queue.waiting.splice(0).flat();
    if (jobs.length === 0) return;
    await this.#options.replication.giveBack(jobs).catch(error => {
      this.#options.log.warn({ err: error }, 'claims could not be given back, and run out by themselves');
    });
    for (const job of jobs) this.#leases.drop(job);
  }

  #target(name: string): Target | undefined {
    return this.#options.roster.targets.find(target => target.name === name);
  }
}
