/** Queues the difference after where blobs must be has changed, a piece at a time. */
import type { Database } from './database.js';

/** Blobs looked at in one transaction: pushes wait for it meanwhile, so it must be short. */
const BATCH = 500;

export class Requeue {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Replication is switched on: what was pushed while it was not will be queued, without fail. */
  async closeGap(): Promise<void> {
    await this.#db.query('select close_replication_gap()');
  }

  /** Does the next piece. False if there is nothing to do, or another process is at it. */
  async some(): Promise<boolean> {
    const [row] = await this.#db.query('select requeue_some($1) as more', [BATCH]);
    return row?.more === true;
  }
}
