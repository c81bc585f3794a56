/**
 * Calls that are applied once, though they may be sent twice.
 *
 * When a connection to PostgreSQL is lost, nobody knows whether the statement on it was committed. A statement that is
 * sent again may then undo what somebody else did in between: move a tag over a later push. Such a statement takes a
 * number that is new for each call (`newCall`), and a `…_once` function records the number in the transaction that applies
 * the call. When it comes again, it waits for the first one's end and, if that was committed, changes nothing.
 */
import { randomUUID } from 'node:crypto';
import type { Database } from './database.js';

/** A call is sent again within a minute: the longest time that a statement and a connection may take. */
const KEPT = '1 hour';

/** The number of a call, to be sent with it each time. */
export const newCall = (): string => randomUUID();

export class AppliedCalls {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Forgets those that nobody sends again any more. */
  async forget(): Promise<void> {
    await this.#db.query(`delete from appliedcall where applied_at < now() - interval '${KEPT}'`);
  }
}
