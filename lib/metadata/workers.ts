/**
 * Workers: which ones live, and what they have to agree on.
 *
 * Each renews its row; one whose lease has run out is dead. A location that no living worker is meant for is taken over
 * by those that live, so a region may consist of a storage-proxy alone.
 */
import { asSize } from '../oci/size.js';
import type { Database, Row } from './database.js';
import { asText, optional } from './row.js';

/** How long a worker counts as living after it was last heard of. */
export const WORKER_LEASE_MS = 15_000;

/** What a worker says of itself. */
export interface WorkerRow {
  /** A UUID, new for each process. */
  readonly id: string;
  /** Where its gRPC server is reached, `host:port`. */
  readonly address: string;
  /** The locations that it is meant for. */
  readonly locations: readonly string[];
}

/** What copying to a location may take, over all workers together; undefined is no limit. */
export interface Limits {
  readonly concurrency: number | undefined;
  readonly bytesPerSecond: number | undefined;
}

/** One location, as the workers share it now. */
export interface Share {
  readonly location: string;
  /** How many living workers are meant for it; 0: it is taken over by all that live. */
  readonly workers: number;
  readonly limits: Limits;
}

export class Workers {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Says that this worker lives. */
  async announce(worker: WorkerRow): Promise<void> {
    await this.#db.query(
      `insert into worker (id, address, locations, lease_until)
       values ($1, $2, $3, now() + $4 * interval '1 millisecond')
       on conflict (id) do update set lease_until = excluded.lease_until`,
      [worker.id, worker.address, worker.locations, WORKER_LEASE_MS],
      { repeatable: true },
    );
  }

  /** Says that this worker ends; forgets those that have been dead for an hour. */
  async leave(id: string): Promise<void> {
    await this.#db.query(`delete from worker where id = $1 or lease_until < now() - interval '1 hour'`, [id]);
  }

  /** All locations, as they are shared out now. */
  async shares(): Promise<Share[]> {
    const rows = await this.#db.query(
      `select l.name, k.concurrency, k.bytes_per_second,
              (select count(*) from worker w where w.lease_until > now() and l.name = any (w.locations)) as workers
         from imagestoragelocation l left join locationlimit k on k.location_id = l.id order by l.name`,
      [],
      { repeatable: true },
    );
    return rows.map(row => ({
      location: asText(row, 'name'),
      workers: asSize(row.workers),
      limits: {
        concurrency: optional(row, 'concurrency', asLimit),
        bytesPerSecond: optional(row, 'bytes_per_second', asLimit),
      },
    }));
  }

  /** The addresses of the living workers that are meant for a location. */
  async addresses(location: string): Promise<string[]> {
    const rows = await this.#db.query(
      'select address from worker where lease_until > now() and $1 = any (locations) order by id',
      [location],
      { repeatable: true },
    );
    return rows.map(row => asText(row, 'address'));
  }

  /** Sets what copying to a location may take; in force on every worker within 5 seconds. False if there is no such location. */
  async setLimits(location: string, limits: Limits): Promise<boolean> {
    const rows = await this.#db.query(
      `insert into locationlimit (location_id, concurrency, bytes_per_second)
       select id, $2, $3 from imagestoragelocation where name = $1
       on conflict (location_id) do update
         set concurrency = excluded.concurrency, bytes_per_second = excluded.bytes_per_second, updated_at = now()
       returning location_id`,
      [location, limits.concurrency ?? null, limits.bytesPerSecond ?? null],
      { repeatable: true },
    );
    return rows.length > 0;
  }
}

function asLimit(row: Row, column: string): number {
  return asSize(row[column]);
}
