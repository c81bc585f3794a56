/**
 * The claims that this worker holds: renewed while the copies run, and a copy whose claim was lost is cancelled, since
 * somebody else does it now. What renews them sees how far each copy has got.
 */
import type { Logger } from 'pino';
import type { Job, Replication } from '../../lib/metadata/replication.js';
import { JOB_LEASE_MS } from '../../lib/metadata/replication.js';

/** Why a copy was given up whose target was paused: it is nobody's fault, and goes on where it stopped. */
export const PAUSED = new Error('the location is paused');

/** A job that this worker holds a claim on. */
export interface HeldJob extends Job {
  /** Aborts when the claim is lost, the worker ends, or the target is paused (PAUSED). */
  readonly signal: AbortSignal;
}

export interface LeasesOptions {
  /**
   * Hears with each renewal of the bytes that have become safe at a copy's target, while it is made; and of none of them
   * when it is claimed.
   */
  readonly onProgress?: (target: string, bytes: number) => void;
  /** How long after one renewal the next begins, in milliseconds. */
  readonly renewMs?: number;
}

/** A claim, and how many bytes of its copy are known to be safe. */
interface Held {
  readonly job: Job;
  readonly controller: AbortController;
  safeBytes: number;
}

export class Leases {
  readonly #replication: Replication;
  readonly #log: Logger;
  readonly #onProgress: (target: string, bytes: number) => void;
  readonly #held = new Map<string, Held>();
  readonly #timer: NodeJS.Timeout;

  constructor(
    replication: Replication,
    log: Logger,
    { onProgress = () => {}, renewMs = JOB_LEASE_MS / 3 }: LeasesOptions = {},
  ) {
    this.#replication = replication;
    this.#log = log;
    this.#onProgress = onProgress;
    this.#timer = setInterval(() => void this.#renew(), renewMs);
  }

  /** Keeps a claimed job's lease from now on. */
  hold(job: Job): HeldJob {
    // A claim that ran out unnoticed, while the database was away, and that we have made again ourselves.
    this.#held.get(job.id)?.controller.abort();
    const controller = new AbortController();
    this.#held.set(job.id, { job, controller, safeBytes: job.checkpoint?.offset ?? 0 });
    this.#onProgress(job.target, 0);
    return { ...job, signal: controller.signal };
  }

  /** The job is over, however it ended. */
  drop(job: Job): void {
    if (this.#held.get(job.id)?.job.token === job.token) this.#held.delete(job.id);
  }

  /** Cancels the copies to these locations: they are paused. */
  pause(targets: readonly string[]): void {
    for (const { job, controller } of this.#held.values()) if (targets.includes(job.target)) controller.abort(PAUSED);
  }

  /** Cancels every copy that is still running. */
  cancelAll(): void {
    for (const { controller } of this.#held.values()) controller.abort();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #renew(): Promise<void> {
    const jobs = [...this.#held.values()].map(({ job }) => job);
    if (jobs.length === 0) return;
    try {
      const kept = await this.#replication.renew(jobs);
      for (const job of jobs) {
        const held = this.#held.get(job.id);
        const safeBytes = kept.get(job.id);
        if (held?.job.token !== job.token) continue;
        if (safeBytes === undefined) this.#lose(held);
        else this.#getOn(held, safeBytes);
      }
    } catch (error) {
      // The claims run out by themselves if this goes on; what is copied meanwhile is refused when it is recorded.
      this.#log.warn({ err: error }, 'the claims on copies could not be renewed');
    }
  }

  #lose({ job: { digest, target, traceId }, controller }: Held): void {
    this.#log.warn({ digest, target, traceId }, 'the claim on a copy was lost');
    controller.abort();
  }

  #getOn(held: Held, safeBytes: number): void {
    // Fewer than before: the copy has begun anew.
    if (safeBytes > held.safeBytes) this.#onProgress(held.job.target, safeBytes - held.safeBytes);
    held.safeBytes = safeBytes;
  }
}
