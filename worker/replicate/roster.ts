/**
 * Which locations this worker copies to now, and what it may take for that.
 *
 * All workers say in the database that they live, and read there how the locations are shared out. A location whose
 * workers are all gone is shared by every worker that knows it, until one of its own is back. Limits are a location's,
 * over all workers: each takes its part of them. Nothing is copied to a location that is paused.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Share, WORKER_LEASE_MS, type WorkerRow, type Workers } from '../../lib/metadata/workers.js';
import type { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { Throttle } from './throttle.js';

/** So often the lease is renewed and the shares are read: a change is in force everywhere within 5 seconds. */
const BEAT_MS = 2_500;

/** A location that this worker copies to. */
export interface Target {
  readonly name: string;
  /** Copies that this worker may run to it at a time; undefined: no limit but its own. */
  readonly slots: number | undefined;
  readonly throttle: Throttle;
}

export interface RosterOptions {
  readonly workers: Workers;
  readonly self: WorkerRow;
  /** Hears that the targets, or what they may take, have changed. */
  readonly onChange: () => void;
  readonly metrics: WorkerMetrics;
  readonly log: Logger;
  /** A process that has just started takes over nothing: the others may be starting too. */
  readonly patienceMs?: number;
  readonly beatMs?: number;
}

export class Roster {
  readonly #options: RosterOptions;
  readonly #stop = new AbortController();
  readonly #startedAt = performance.now();
  readonly #throttles = new Map<string, Throttle>();
  readonly #takenOver = new Set<string>();
  /** The limits that were last told of each location. */
  readonly #toldLimits = new Map<string, string>();
  readonly #running: Promise<void>;
  #known: readonly string[] = [];
  #targets: readonly Target[] = [];
  #paused: readonly string[] = [];

  constructor(options: RosterOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Empty until the database has been asked for the first time. */
  get targets(): readonly Target[] {
    return this.#targets;
  }

  /** The locations that are paused: also a copy that runs is given up. */
  get paused(): readonly string[] {
    return this.#paused;
  }

  /** Says that this worker ends. To be called when it has given its claims back. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const { workers, self, log } = this.#options;
    await workers.leave(self.id).catch(error => {
      log.warn({ err: error }, 'the other workers could not be told of the end of this one, and will notice');
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let failing = false;
    while (!signal.aborted) {
      try {
        await this.#beat();
        failing = false;
      } catch (error) {
        // What was last known stays in force: without the database nothing can be claimed anyway.
        if (!failing) this.#options.log.warn({ err: error }, 'cannot tell the other workers that this one lives');
        failing = true;
      }
      await sleep(this.#options.beatMs ?? BEAT_MS, undefined, { signal }).catch(() => {});
    }
  }

  async #beat(): Promise<void> {
    const { workers, self, onChange } = this.#options;
    await workers.announce(self);
    const shares = await workers.shares(self.id);
    this.#forgetRemoved(shares);
    const before = describe(this.#targets, this.#paused);
    this.#tellPaused(shares);
    this.#paused = shares.filter(share => share.paused).map(share => share.location);
    this.#targets = shares.filter(share => this.#isMine(share) && !share.paused).map(share => this.#targetOf(share));
    for (const target of this.#targets) this.#tellLimits(target);
    if (describe(this.#targets, this.#paused) !== before) onChange();
  }

  #isMine(share: Share): boolean {
    const { location, orphaned, place } = share;
    const patienceMs = this.#options.patienceMs ?? WORKER_LEASE_MS;
    const isPatient = this.#takenOver.has(location) || performance.now() - this.#startedAt >= patienceMs;
    const takesOver = orphaned && place !== undefined && isPatient;
    this.#report(share, takesOver);
    return place !== undefined && (!orphaned || takesOver);
  }

  /** Says when taking over a location begins, and when it ends. */
  #report({ location, workers }: Share, takesOver: boolean): void {
    const { log, metrics } = this.#options;
    if (takesOver && !this.#takenOver.has(location)) {
      log.warn({ location, workers }, 'no worker of this location lives: it is taken over until one is back');
      this.#takenOver.add(location);
    } else if (!takesOver && this.#takenOver.delete(location)) {
      log.info({ location }, 'a worker of this location is back: it is no longer taken over');
    }
    metrics.takenOver.set({ location }, takesOver ? 1 : 0);
  }

  /** Says which locations were paused, and which go on, since the last time. */
  #tellPaused(shares: readonly Share[]): void {
    for (const { location, paused } of shares) {
      if (paused === this.#paused.includes(location)) continue;
      this.#options.log.info({ location }, `copying to this location ${paused ? 'is paused' : 'goes on'}`);
    }
  }

  /** Says what this worker may take from now on, so that one can see when a limit is in force. */
  #tellLimits({ name: location, slots: copies, throttle: { limit: bytesPerSecond } }: Target): void {
    const isLimited = copies !== undefined || bytesPerSecond !== undefined;
    const limits = JSON.stringify({ copies, bytesPerSecond });
    if (limits === (this.#toldLimits.get(location) ?? '{}')) return;
    this.#toldLimits.set(location, limits);
    this.#options.log.info(
      { location, copies, bytesPerSecond },
      isLimited
        ? 'copying to this location is limited: this is the part of this worker'
        : 'copying to this location has no limit any more',
    );
  }

  /** A location that was removed is nobody's, and is not reported any more. */
  #forgetRemoved(shares: readonly Share[]): void {
    for (const location of this.#known) {
      if (shares.some(share => share.location === location)) continue;
      this.#throttles.delete(location);
      this.#takenOver.delete(location);
      this.#toldLimits.delete(location);
      this.#options.metrics.takenOver.remove({ location });
    }
    this.#known = shares.map(share => share.location);
  }

  #targetOf({ location, workers, place = 0, limits }: Share): Target {
    const throttle = this.#throttles.get(location) ?? new Throttle();
    this.#throttles.set(location, throttle);
    throttle.limit = limits.bytesPerSecond && limits.bytesPerSecond / workers;
    return { name: location, slots: limits.concurrency && partOf(limits.concurrency, workers, place), throttle };
  }
}

/** One worker's part of a whole number; all parts together are the whole, and some may be 0. */
function partOf(whole: number, workers: number, place: number): number {
  return Math.floor(whole / workers) + (place < whole % workers ? 1 : 0);
}

function describe(targets: readonly Target[], paused: readonly string[]): string {
  return [...targets.map(({ name, slots }) => `${name} ${slots}`), 'paused', ...paused].join();
}
