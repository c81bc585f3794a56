/** Queues the difference after where blobs must be has changed, a piece at a time. */
import type { Database } from './database.js';

/** Blobs looked at in one transaction: pushes wait for it meanwhile, so it must be short. */
const BATCH = 500;

export class Requeue {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Does the next piece. False if there is nothing to do, or another process is at it. */
  async some(): Promise<boolean> {
    const [row] = await this.#db.query('select requeue_some($1) as more', [BATCH]);
    return row?.more === true;
  }
}
