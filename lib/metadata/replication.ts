/**
 * Replication: blobs still to be copied to a location.
 *
 * A row is made in the transaction that causes the need and goes in the one that records the placement; between the
 * two it can only be postponed. A claim sets a new lease token, and every later statement asks for it: a worker that
 * was stopped and wakes cannot write beside its successor.
 */
import type { Digest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { TraceParent } from '../telemetry/trace-id.js';
import { causedBy } from './cause.js';
import type { Database, Row } from './database.js';
import { asBytes, asDigestValue, asNumber, asText, asTexts, optional } from './row.js';

/** A claim on one copy. */
export interface Lease {
  readonly id: string;
  readonly token: string;
}

/** One blob that this worker is to copy to one location. */
export interface Job extends Lease {
  readonly digest: Digest;
  readonly size: number;
  /** Where to. */
  readonly target: string;
  /** The locations that have it, in no order. */
  readonly sources: readonly string[];
  /** How often it has been tried, this time included. */
  readonly attempts: number;
  /** Where an earlier try stopped, if it got anywhere. */
  readonly checkpoint: { readonly offset: number; readonly session: Buffer } | undefined;
  /** The trace id of the push that caused it. */
  readonly traceId: string | undefined;
  /** What it belongs to in that trace. */
  readonly cause: TraceParent | undefined;
}

/** The rows that are claimed together: the table holds many queues, and a claim looks at none but its own. */
export interface Queue {
  /** Where to. */
  readonly target: string;
  /** A location that has the blobs; undefined: none that is known. They may be copied from another one that has them. */
  readonly source: string | undefined;
  /** Blobs that do not travel in a batch with others. */
  readonly large: boolean;
}

/** A queue, and how much may be claimed from it. */
export interface QueueRoom extends Queue {
  /** The most rows. */
  readonly rows: number;
  /** No more rows once the blobs come to so many bytes. */
  readonly bytes: number;
}

/** What became of a look for rows that are filed under a source that is away. */
export interface Refiled {
  /** The last row that was looked at; undefined: there are no more. */
  readonly last: string | undefined;
  readonly moved: number;
}

/** A copy that is done. */
export interface Completed {
  readonly id: string;
  /** How long ago it became necessary: for what was just pushed, the time from the push to the verified copy. */
  readonly lagMs: number;
}

/** What became of the wish to make one copy, now. */
export type ClaimOne =
  | { readonly kind: 'claimed'; readonly job: Job }
  /** The location has the blob. */
  | { readonly kind: 'stored' }
  /** No such copy is to be made. */
  | { readonly kind: 'unknown' }
  /** Another worker is making it; undefined if that one is not known to live. */
  | { readonly kind: 'busy'; readonly worker: string | undefined };

/** How long a claim lasts without being renewed. */
export const JOB_LEASE_MS = 15_000;

const LEASE = `next_attempt_at = now() + ${JOB_LEASE_MS} * interval '1 millisecond'`;

/** Claims what `due` names, for a worker; answers the jobs. */
const claimFor = (
  worker: string,
) => `update replication r set lease_token = gen_random_uuid(), attempts = attempts + 1, worker_id = ${worker}, ${LEASE}
    from due, imagestorage s, imagestoragelocation l
   where r.id = due.id and s.id = r.storage_id and l.id = r.location_id
  returning r.id, r.lease_token, s.content_checksum, s.image_size, l.name as target, r.attempts,
            r.bytes_done, r.session, r.trace_id, r.trace_span,
            array(select sl.name from imagestorageplacement p join imagestoragelocation sl on sl.id = p.location_id
                   where p.storage_id = s.id)::text[] as sources`;

export class Replication {
  readonly #db: Database;
  readonly #worker: string | null;

  /** `worker` is this process's id among the workers (workers.ts), if it is one. */
  constructor(db: Database, worker?: string) {
    this.#db = db;
    this.#worker = worker ?? null;
  }

  /**
   * Claims copies that are due in these queues, at most as many of each as it has room for: by priority, then the longest
   * waiting first. What it costs does not depend on how long the queue is.
   */
  async claim(queues: readonly QueueRoom[]): Promise<Job[]> {
    const rows = await this.#db.query(
      `with due as (select id from due_replication($1, $2, $3, $4, $5) d (id))
       ${claimFor('$6')}`,
      [...queueColumns(queues), queues.map(queue => queue.rows), queues.map(queue => queue.bytes), this.#worker],
    );
    return rows.map(asJob);
  }

  /** Claims one copy, whenever it is due, because somebody waits for it. */
  async claimOne(digest: Digest, target: string): Promise<ClaimOne> {
    const rows = await this.#db.query(
      `with due as (
         select r.id from replication r
          where r.storage_id = (select id from imagestorage where content_checksum = $1)
            and r.location_id = (select id from activelocation where name = $2 and not paused)
            and (r.lease_token is null or r.next_attempt_at <= now())
          for update of r skip locked)
       ${claimFor('$3')}`,
      [digest, target, this.#worker],
    );
    const [row] = rows;
    if (row) return { kind: 'claimed', job: asJob(row) };
    const [other] = await this.#db.query(
      `select r.id is null as stored, w.address
         from imagestorage s cross join imagestoragelocation l
         left join replication r on r.storage_id = s.id and r.location_id = l.id
         left join living_worker w on w.id = r.worker_id
        where s.content_checksum = $1 and l.name = $2
          and (r.id is not null
               or exists (select from imagestorageplacement p where p.storage_id = s.id and p.location_id = l.id))`,
      [digest, target],
      { repeatable: true },
    );
    if (!other) return { kind: 'unknown' };
    return other.stored === true ? { kind: 'stored' } : { kind: 'busy', worker: optional(other, 'address', asText) };
  }

  /** In how many milliseconds the next copy in these queues is due that is not due yet; undefined if there is none. */
  async nextDueMs(queues: readonly Queue[]): Promise<number | undefined> {
    const [row] = await this.#db.query(
      `select greatest(0, ceil(extract(epoch from due - now()) * 1000))::bigint as ms
         from next_replication($1, $2, $3) n (due) where due is not null`,
      queueColumns(queues),
      { repeatable: true },
    );
    return row && optional(row, 'ms', asNumber);
  }

  /**
   * Looks at the next `limit` rows after `after`: what is filed under a source that is in none of these queues, and could
   * come from one that is, is filed there, under the first. Answers where it stopped, or undefined at the end.
   */
  async refile(queues: readonly Queue[], after: string, limit: number): Promise<Refiled> {
    const [row] = await this.#db.query(
      'select last, moved from refile_replication($1, $2, $3, $4, $5)',
      [...queueColumns(queues), after, limit],
      { repeatable: true },
    );
    return { last: row && optional(row, 'last', asText), moved: asSize(row?.moved) };
  }

  /** Renews claims. Answers those that are still held, and how many bytes of each are on record as safe at its target. */
  async renew(leases: readonly Lease[]): Promise<Map<string, number>> {
    const rows = await this.#db.query(
      `update replication r set ${LEASE} from unnest($1::bigint[], $2::uuid[]) held (id, token)
        where r.id = held.id and r.lease_token = held.token returning r.id, r.bytes_done`,
      columns(leases),
    );
    return new Map(rows.map(row => [asText(row, 'id'), asSize(row.bytes_done)]));
  }

  /**
   * Keeps how far a large copy has got, and renews its claim. False if the claim is lost. One that is further on record
   * stays, since several may be on their way at a time; but `anew` counts in any case, as the first of an upload does.
   */
  async checkpoint(lease: Lease, at: { offset: number; session: Buffer }, anew = true): Promise<boolean> {
    const rows = await this.#db.query(
      `update replication
          set session = case when $5 or bytes_done <= $4 then $3 else session end,
              bytes_done = case when $5 then $4 else greatest(bytes_done, $4) end, ${LEASE}
        where id = $1 and lease_token = $2 returning id`,
      [lease.id, lease.token, at.session, at.offset, anew],
    );
    return rows.length > 0;
  }

  /**
   * Records copies that are verified at their target: each placement is inserted and its row deleted, in one
   * transaction, and images that have thereby become whole get their events. Claims that were lost are passed over.
   * Answers what was recorded.
   */
  async complete(leases: readonly Lease[]): Promise<Completed[]> {
    const rows = await this.#db.query('select id, lag_ms from complete_replication($1, $2)', columns(leases));
    return rows.map(row => ({ id: asText(row, 'id'), lagMs: asSize(row.lag_ms) }));
  }

  /**
   * Records copies that are verified at their target, though their rows went out of the queue while they were made, since
   * nobody requires them any more. Those that the queue still has, or that are on record, are left alone. Answers those
   * that were recorded.
   */
  async recordUnqueued<T extends Pick<Job, 'digest' | 'target'>>(copies: readonly T[]): Promise<Set<T>> {
    const rows = await this.#db.query(
      'select n from record_unqueued($1, $2) n',
      [copies.map(({ digest }) => digest), copies.map(({ target }) => target)],
      { repeatable: true },
    );
    const numbers = new Set(rows.map(row => asNumber(row, 'n')));
    return new Set(copies.filter((_copy, index) => numbers.has(index + 1)));
  }

  /**
   * Postpones a copy that did not succeed. It is never dropped. `counts` false: it was no try of this copy, since a
   * location was away altogether.
   */
  async postpone(lease: Lease, delayMs: number, reason: string, counts = true): Promise<void> {
    await this.#db.query(
      `update replication set next_attempt_at = now() + $3 * interval '1 millisecond', last_error = $4, lease_token = null,
              attempts = greatest(0, attempts - case when $5 then 0 else 1 end)
        where id = $1 and lease_token = $2`,
      [lease.id, lease.token, delayMs, reason.slice(0, 1_000), counts],
    );
  }

  /**
   * A location's copy turned out to be damaged: its placement goes and the copy is wanted again, to be made from
   * another location's. False if it is the last verified one: then it stays, marked as unverified.
   */
  async distrust(digest: Digest, location: string, reason: string): Promise<boolean> {
    const [row] = await this.#db.query('select distrust_placement($1, $2, $3) as repaired', [
      digest,
      location,
      reason.slice(0, 1_000),
    ]);
    return row?.repaired === true;
  }

  /** Gives claims back at once, as if they had not been tried: the worker is ending. */
  async giveBack(leases: readonly Lease[]): Promise<void> {
    await this.#db.query(
      `update replication r set next_attempt_at = now(), lease_token = null, attempts = greatest(0, attempts - 1)
         from unnest($1::bigint[], $2::uuid[]) held (id, token) where r.id = held.id and r.lease_token = held.token`,
      columns(leases),
    );
  }
}

function columns(leases: readonly Lease[]): [ids: string[], tokens: string[]] {
  const sorted = leases.toSorted((a, b) => Number(a.id) - Number(b.id));
  return [sorted.map(lease => lease.id), sorted.map(lease => lease.token)];
}

function queueColumns(queues: readonly Queue[]): [targets: string[], sources: string[], large: boolean[]] {
  return [queues.map(queue => queue.target), queues.map(queue => queue.source ?? ''), queues.map(queue => queue.large)];
}

function asJob(row: Row): Job {
  const session = optional(row, 'session', asBytes);
  const traceId = optional(row, 'trace_id', asText);
  return {
    id: asText(row, 'id'),
    token: asText(row, 'lease_token'),
    digest: asDigestValue(row, 'content_checksum'),
    size: asSize(row.image_size),
    target: asText(row, 'target'),
    sources: asTexts(row, 'sources'),
    attempts: asSize(row.attempts),
    checkpoint: session && { offset: asSize(row.bytes_done), session },
    traceId,
    cause: causedBy(traceId, optional(row, 'trace_span', asText)),
  };
}
