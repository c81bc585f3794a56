/**
 * The claims that this worker holds: renewed while the copies run, and a copy whose claim was lost is cancelled, since
 * somebody else does it now.
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

export class Leases {
  readonly #replication: Replication;
  readonly #log: Logger;
  readonly #held = new Map<string, { job: Job; controller: AbortController }>();
  readonly #timer: NodeJS.Timeout;

  constructor(replication: Replication, log: Logger) {
    this.#replication = replication;
    this.#log = log;
    this.#timer = setInterval(() => void this.#renew(), JOB_LEASE_MS / 3);
  }

  /** Keeps a claimed job's lease from now on. */
  hold(job: Job): HeldJob {
    // A claim that ran out unnoticed, while the database was away, and that we have made again ourselves.
    this.#held.get(job.id)?.controller.abort();
    const controller = new AbortController();
    this.#held.set(job.id, { job, controller });
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
        if (kept.has(job.id) || held?.job.token !== job.token) continue;
        this.#log.warn(
          { digest: job.digest, target: job.target, traceId: job.traceId },
          'the claim on a copy was lost',
        );
        held.controller.abort();
      }
    } catch (error) {
      // The claims run out by themselves if this goes on; what is copied meanwhile is refused when it is recorded.
      this.#log.warn({ err: error }, 'the claims on copies could not be renewed');
    }
  }
}
