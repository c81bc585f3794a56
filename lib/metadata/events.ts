/** Replication events: "all blobs of this image are in this location". */
import type { Digest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { Database, Row } from './database.js';
import { asDigestValue, asText } from './row.js';

/** An image has arrived. */
export interface ReplicationEvent {
  /** Grows; an event may become visible a little later than one with a larger id. */
  readonly id: number;
  readonly namespace: string;
  /** The repository's name in its namespace. */
  readonly repository: string;
  /** Empty if the image was pushed by digest only. */
  readonly tag: string;
  readonly digest: Digest;
  readonly location: string;
  /** Milliseconds from the push of the manifest to the last blob's verified copy. */
  readonly lagMs: number;
  /** ISO 8601, in UTC. */
  readonly pushedAt: string;
  readonly completedAt: string;
}

export class Events {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Takes up to `limit` events that are still to be published: those of these locations, and others that nobody has
   * published for ten seconds. Whoever takes them says `published` within ten seconds, or somebody else takes them again:
   * an event may be published twice, but is not lost.
   */
  async take(locations: readonly string[], limit: number): Promise<ReplicationEvent[]> {
    const rows = await this.#db.query(`select ${EVENT_COLUMNS} from take_events($1, $2) e`, [locations, limit]);
    return rows.map(asEvent).sort((a, b) => a.id - b.id);
  }

  /** Says that events were published. */
  async published(events: readonly ReplicationEvent[]): Promise<void> {
    await this.#db.query(
      'update replicationevent set published_at = now() where id = any ($1)',
      [events.map(event => event.id)],
      { repeatable: true },
    );
  }

  /** Up to `limit` events after the one with the id `after`, in order. */
  async after(after: number, limit: number): Promise<ReplicationEvent[]> {
    const rows = await this.#db.query(
      `select ${EVENT_COLUMNS} from replicationevent e where id > $1 order by id limit $2`,
      [after, limit],
      { repeatable: true },
    );
    return rows.map(asEvent);
  }

  /**
   * Looks again at up to `limit` waiting images after the id `after`, of those that wait for less than `seconds` (of
   * all, if that is absent): they may have been missed when they became whole. Answers where it stopped, undefined at
   * the end.
   */
  async sweep(after: number, limit: number, seconds?: number): Promise<number | undefined> {
    const [row] = await this.#db.query('select sweep_waiting($1, $2, $3) as at', [after, limit, seconds ?? null]);
    return row?.at === null || row?.at === undefined ? undefined : asSize(row.at);
  }

  /** Forgets events older than `days`. */
  async forget(days: number): Promise<void> {
    await this.#db.query(`delete from replicationevent where completed_at < now() - $1 * interval '1 day'`, [days]);
  }
}

/** Of an event `e`, as `asEvent` reads them. */
export const EVENT_COLUMNS = `e.id, e.namespace, e.repository, e.tag, e.digest, e.location,
  greatest(0, floor(extract(epoch from e.completed_at - e.pushed_at) * 1000))::bigint as lag_ms,
  to_char(e.pushed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as pushed_at,
  to_char(e.completed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as completed_at`;

export function asEvent(row: Row): ReplicationEvent {
  return {
    id: asSize(row.id),
    namespace: asText(row, 'namespace'),
    repository: asText(row, 'repository'),
    tag: asText(row, 'tag'),
    digest: asDigestValue(row, 'digest'),
    location: asText(row, 'location'),
    lagMs: asSize(row.lag_ms),
    pushedAt: asText(row, 'pushed_at'),
    completedAt: asText(row, 'completed_at'),
  };
}
