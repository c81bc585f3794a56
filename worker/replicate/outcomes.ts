/** Records what became of copies: done, to be tried again, or found to be damaged at a source. */
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import type { Replication } from '../../lib/metadata/replication.js';
import { sizeClass, type WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { retryDelayMs } from './backoff.js';
import type { Outcome } from './batch.js';
import { type HeldJob, type Leases, PAUSED } from './leases.js';

/** What could not be copied because a location is away is not claimed again before it is back; soon after, it is. */
const AWAY_DELAY_MS = 1_000;

export interface OutcomesOptions {
  readonly replication: Replication;
  readonly locations: Locations;
  readonly leases: Leases;
  readonly metrics: WorkerMetrics;
  readonly log: Logger;
  /** Aborts when the worker ends: copies that fail then have only been interrupted. */
  readonly ending: AbortSignal;
}

export class Outcomes {
  readonly #options: OutcomesOptions;

  constructor(options: OutcomesOptions) {
    this.#options = options;
  }

  /** Records what became of the jobs. If that fails, their claims run out and they are made again. */
  async record(outcomes: readonly Outcome[]): Promise<void> {
    const { replication, leases, ending } = this.#options;
    try {
      await this.#complete(outcomes.filter(outcome => outcome.error === undefined));
      for (const { job, error, damaged } of outcomes) {
        const mended = await this.#distrust(job, damaged);
        if (error === undefined) continue;
        if (ending.aborted || job.signal.reason === PAUSED) await replication.giveBack([job]);
        else if (!job.signal.aborted) await this.#postpone(job, error, mended);
      }
    } finally {
      for (const { job } of outcomes) leases.drop(job);
    }
  }

  async #complete(done: readonly Outcome[]): Promise<void> {
    if (done.length === 0) return;
    const { replication, metrics, log } = this.#options;
    const lags = new Map((await replication.complete(done.map(({ job }) => job))).map(({ id, lagMs }) => [id, lagMs]));
    await this.#unqueued(done.flatMap(({ job }) => (lags.has(job.id) ? [] : [job])));
    for (const { job, readBytes } of done) {
      const { id, digest, size, target, sources, traceId } = job;
      const lagMs = lags.get(id);
      if (lagMs === undefined) continue;
      log.info({ digest, size, target, traceId, readBytes }, 'copied');
      const source = sources[0] ?? '';
      metrics.replicationLag.observe({ source, target, size: sizeClass(size) }, lagMs / 1_000);
      metrics.replicationBytes.inc({ source, target }, size);
    }
  }

  /**
   * Copies that were made, and that were no longer this worker's to record: another one makes them again, or nobody wants
   * them any more. These are recorded all the same. They cannot be removed safely: a push may find the object there just
   * now, and record it a moment after anybody has looked.
   */
  async #unqueued(jobs: readonly HeldJob[]): Promise<void> {
    if (jobs.length === 0) return;
    const recorded = await this.#options.replication.recordUnqueued(jobs);
    for (const job of jobs) {
      const { digest, target, traceId } = job;
      const message = recorded.has(job)
        ? 'a copy was made that nobody requires any more; it is on record'
        : 'a copy was made, and is no longer ours to record';
      this.#options.log.info({ digest, target, traceId }, message);
    }
  }

  /** Has damaged copies made anew from a good one. Whether one of them will be. */
  async #distrust({ digest, traceId }: HeldJob, damaged: readonly string[]): Promise<boolean> {
    const { log, metrics, replication } = this.#options;
    let mended = false;
    for (const location of damaged) {
      metrics.replicationDamaged.inc({ location });
      if (await replication.distrust(digest, location, 'the copy here was damaged')) {
        log.error({ digest, location, traceId }, 'a copy is damaged; it will be made again from another location');
        mended = true;
      } else {
        log.error({ digest, location, traceId }, 'the only verified copy is damaged; push the blob again to mend it');
      }
    }
    return mended;
  }

  async #postpone(job: HeldJob, error: unknown, mended: boolean): Promise<void> {
    const { digest, target, sources, traceId, attempts } = job;
    const reason = error instanceof Error ? error.message : String(error);
    const isAway = this.#isAway(job);
    // With a bad source out of the way, the next one can be asked at once.
    const delayMs = mended ? 0 : isAway ? AWAY_DELAY_MS : retryDelayMs(attempts);
    this.#options.metrics.replicationFailures.inc({ source: sources[0] ?? '', target });
    await this.#options.replication.postpone(job, delayMs, reason, !isAway);
    this.#options.log.warn(
      { digest, target, traceId, attempts, retryInMs: delayMs },
      `a copy failed and will be tried again: ${reason}`,
    );
  }

  /** Whether the copy could not be made because its target, or all of its sources, cannot be used now. */
  #isAway({ target, sources }: HeldJob): boolean {
    const { locations } = this.#options;
    const to = locations.get(target);
    const from = locations.forReading(sources);
    return (
      (to !== undefined && !to.serves('write')) || (from.length > 0 && !from.some(source => source.serves('read')))
    );
  }
}
