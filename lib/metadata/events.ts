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
  readonly repository: string;
  /** Empty if the image was pushed by digest only. */
  readonly tag: string;
  readonly digest: Digest;
  readonly location: string;
  /** Milliseconds from the push of the manifest to the last blob's verified copy. */
  readonly lagMs: number;
  /** ISO 8601. */
  readonly completedAt: string;
}

export class Events {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Takes up to `limit` events that nobody has told to anybody yet; each is handed out once. */
  async takeUnpublished(limit: number): Promise<ReplicationEvent[]> {
    const rows = await this.#db.query(
      `update replicationevent e set published_at = now()
        where id in (select id from replicationevent where published_at is null order by id limit $1 for update skip locked)
       returning ${COLUMNS}`,
      [limit],
    );
    return rows.map(asEvent).sort((a, b) => a.id - b.id);
  }

  /** Up to `limit` events after the one with the id `after`, in order. */
  async after(after: number, limit: number): Promise<ReplicationEvent[]> {
    const rows = await this.#db.query(
      `select ${COLUMNS} from replicationevent e where id > $1 order by id limit $2`,
      [after, limit],
      { repeatable: true },
    );
    return rows.map(asEvent);
  }

  /** Looks again at waiting images after the id `after` that may have been missed; answers where it stopped, undefined at the end. */
  async sweep(after: number, limit: number): Promise<number | undefined> {
    const [row] = await this.#db.query('select sweep_waiting($1, $2) as at', [after, limit]);
    return row?.at === null || row?.at === undefined ? undefined : asSize(row.at);
  }

  /** Forgets events older than `days`. */
  async forget(days: number): Promise<void> {
    await this.#db.query(`delete from replicationevent where completed_at < now() - $1 * interval '1 day'`, [days]);
  }
}

const COLUMNS = `e.id, e.namespace, e.repository, e.tag, e.digest, e.location,
  greatest(0, floor(extract(epoch from e.completed_at - e.pushed_at) * 1000))::bigint as lag_ms,
  to_char(e.completed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as completed_at`;

function asEvent(row: Row): ReplicationEvent {
  return {
    id: asSize(row.id),
    namespace: asText(row, 'namespace'),
    repository: asText(row, 'repository'),
    tag: asText(row, 'tag'),
    digest: asDigestValue(row, 'digest'),
    location: asText(row, 'location'),
    lagMs: asSize(row.lag_ms),
    completedAt: asText(row, 'completed_at'),
  };
}
