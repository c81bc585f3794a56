/**
 * Replication events in the order of their ids, none left out.
 *
 * An event gets its id before its transaction is committed, so one may become visible after another with a larger id. A
 * gap in the ids is therefore waited at, until every transaction has ended that ran when what follows the gap was first
 * seen: whoever had taken an id in the gap was one of them, since ids are given in order, and had written (so it has a
 * transaction id) before it took the event's. What the gap does not hold by then, it never will: its transaction was
 * undone, or the event is forgotten.
 */
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import { asEvent, EVENT_COLUMNS, type ReplicationEvent } from './events.js';
import { asText } from './row.js';

const AT_ONCE = 500;
/** Transactions of ours are far shorter. One of somebody else's must not hold up the events for ever. */
const PATIENCE_MS = 120_000;

/** A gap that is waited at. */
interface Gap {
  /** The id of the first event after it. */
  readonly before: number;
  /** The transactions that may still fill it have smaller ids. */
  readonly horizon: bigint;
  readonly seenAt: number;
}

export class EventFeed {
  readonly #db: Database;
  #after: number;
  #gap: Gap | undefined;

  /** Begins after the event with the id `after`. */
  constructor(db: Database, after: number) {
    this.#db = db;
    this.#after = after;
  }

  /** Begins with the next event. */
  static async fromNow(db: Database): Promise<EventFeed> {
    const [row] = await db.query(
      'select case when is_called then last_value else 0 end as last from replicationevent_id_seq',
      [],
      { repeatable: true },
    );
    return new EventFeed(db, asSize(row?.last));
  }

  /** The next events, as far as they are sure to be complete; and whether it is worth while to ask again at once. */
  async next(): Promise<{ events: ReplicationEvent[]; more: boolean }> {
    const rows = await this.#db.query(
      `select ${EVENT_COLUMNS}, pg_snapshot_xmin(pg_current_snapshot())::text as oldest
         from (select * from replicationevent where id > $1 order by id limit $2) e order by e.id`,
      [this.#after, AT_ONCE],
      { repeatable: true },
    );
    const events: ReplicationEvent[] = [];
    for (const row of rows) {
      const event = asEvent(row);
      const isNext = event.id === this.#after + 1;
      if (!isNext && !(await this.#isClosed(event.id, BigInt(asText(row, 'oldest'))))) break;
      events.push(event);
      this.#after = event.id;
    }
    return { events, more: events.length === AT_ONCE };
  }

  /**
   * Whether nothing can come any more between the last event and the one with this id. `oldest`: the oldest transaction
   * that ran when this was read.
   */
  async #isClosed(id: number, oldest: bigint): Promise<boolean> {
    // With a larger id it was seen before: this is the part of that gap that is not filled yet.
    if (!this.#gap || this.#gap.before < id) {
      this.#gap = { before: id, horizon: await this.#newTransaction(), seenAt: performance.now() };
      return false;
    }
    return oldest >= this.#gap.horizon || performance.now() - this.#gap.seenAt > PATIENCE_MS;
  }

  /** An id for which all that ran before have smaller ones. (A snapshot's upper end is none: it counts those that ended.) */
  async #newTransaction(): Promise<bigint> {
    const [row] = await this.#db.query('select pg_current_xact_id()::text as id', [], { repeatable: true });
    if (!row) throw new TypeError('the database answered no id of a transaction');
    return BigInt(asText(row, 'id'));
  }
}
