/** What is still to be copied, as metrics: asked of the database when somebody fetches them, and not too often. */
import { readBacklog } from '../../lib/metadata/backlog.js';
import type { Database } from '../../lib/metadata/database.js';
import type { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';

const AT_MOST_EVERY_MS = 5_000;

export class BacklogMetrics {
  readonly #db: Database;
  readonly #metrics: WorkerMetrics;
  #asked: Promise<void> | undefined;
  #askedAt = 0;

  constructor(db: Database, metrics: WorkerMetrics) {
    this.#db = db;
    this.#metrics = metrics;
  }

  /** Brings them up to date. Rejects if the database cannot be asked; they are absent then, rather than old. */
  refresh(): Promise<void> {
    const now = performance.now();
    if (!this.#asked || now - this.#askedAt >= AT_MOST_EVERY_MS) {
      this.#askedAt = now;
      this.#asked = this.#ask();
    }
    return this.#asked;
  }

  async #ask(): Promise<void> {
    const { missingBlobs, missingBytes, oldestMissing, pendingRequeues } = this.#metrics;
    try {
      const { locations, requeues } = await readBacklog(this.#db);
      // One that was removed is not to be reported any more.
      for (const gauge of [missingBlobs, missingBytes, oldestMissing]) gauge.reset();
      for (const { location, blobs, bytes, oldestSeconds } of locations) {
        missingBlobs.set({ location }, blobs);
        missingBytes.set({ location }, bytes);
        oldestMissing.set({ location }, oldestSeconds);
      }
      pendingRequeues.set(requeues);
    } catch (error) {
      for (const gauge of [missingBlobs, missingBytes, oldestMissing]) gauge.reset();
      pendingRequeues.remove();
      throw error;
    }
  }
}
