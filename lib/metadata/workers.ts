/**
 * Workers: which ones live, and what they have to agree on.
 *
 * Each renews its row; one whose lease has run out is dead. A location that no living worker is meant for is taken over
 * by those that live, so a region may consist of a storage-proxy alone.
 */
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import { asNumber, asText, optional } from './row.js';

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
  /** All locations that its configuration has: those it can take over. */
  readonly knows: readonly string[];
}

/** What copying to a location may take, over all workers together; undefined is no limit. */
export interface Limits {
  readonly concurrency: number | undefined;
  readonly bytesPerSecond: number | undefined;
}

/** One location, as the workers share it now. */
export interface Share {
  readonly location: string;
  /** No worker that is meant for it lives, nor has ended just now: those share it that know it. */
  readonly orphaned: boolean;
  /** Nothing is copied to it. */
  readonly paused: boolean;
  /** How many living workers share it. */
  readonly workers: number;
  /** This worker's place among them, from 0; undefined if it is none of them. */
  readonly place: number | undefined;
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
      `insert into worker (id, address, locations, knows, lease_until)
       values ($1, $2, $3, $4, now() + $5 * interval '1 millisecond')
       on conflict (id) do update set lease_until = excluded.lease_until`,
      [worker.id, worker.address, worker.locations, worker.knows, WORKER_LEASE_MS],
      { repeatable: true },
    );
  }

  /**
   * Says that this worker ends. Its locations are taken over when its lease would have run out: it may be restarting.
   * Forgets those that have been dead for an hour.
   */
  async leave(id: string): Promise<void> {
    await this.#db.query(
      `with forgotten as (delete from worker where lease_until < now() - interval '1 hour')
       update worker set ended = true where id = $1`,
      [id],
      { repeatable: true },
    );
  }

  /** All locations, as they are shared out now, seen from worker `id`. */
  async shares(id: string): Promise<Share[]> {
    const rows = await this.#db.query(
      `select l.name, k.concurrency, k.bytes_per_second, o.orphaned, coalesce(t.paused, false) as paused,
              cardinality(s.ids) as workers, array_position(s.ids, $1::uuid) - 1 as place
         from imagestoragelocation l
         left join locationlimit k on k.location_id = l.id
         left join locationstate t on t.location_id = l.id
         cross join lateral (
           select not exists (select from worker w where w.lease_until > now() and l.name = any (w.locations)) as orphaned) o
         cross join lateral (
           select array(select w.id from living_worker w
                         where l.name = any (case when o.orphaned then w.knows else w.locations end) order by w.id) as ids) s
        order by l.name`,
      [id],
      { repeatable: true },
    );
    return rows.map(row => ({
      location: asText(row, 'name'),
      orphaned: row.orphaned === true,
      paused: row.paused === true,
      workers: asSize(row.workers),
      place: optional(row, 'place', asNumber),
      limits: {
        concurrency: optional(row, 'concurrency', asNumber),
        bytesPerSecond: optional(row, 'bytes_per_second', asNumber),
      },
    }));
  }

  /** The addresses of the living workers that are meant for a location. */
  async addresses(location: string): Promise<string[]> {
    const rows = await this.#db.query(
      'select address from living_worker where $1 = any (locations) order by id',
      [location],
      { repeatable: true },
    );
    return rows.map(row => asText(row, 'address'));
  }

  /** Stops copying to a location, or goes on with it. False if there is no such location. */
  async setPaused(location: string, paused: boolean): Promise<boolean> {
    const rows = await this.#db.query(
      `insert into locationstate (location_id, paused) select id, $2 from imagestoragelocation where name = $1
       on conflict (location_id) do update set paused = excluded.paused
       returning location_id`,
      [location, paused],
      { repeatable: true },
    );
    return rows.length > 0;
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
