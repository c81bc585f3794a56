/**
 * Replication: blobs still to be copied to a location.
 *
 * A row is made in the transaction that causes the need and goes in the one that records the placement; between the
 * two it can only be postponed. A claim sets a new lease token, and every later statement asks for it: a worker that
 * was stopped and wakes cannot write beside its successor.
 */
import type { Digest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { Database, Row } from './database.js';
import { asBytes, asDigestValue, asText, asTexts, optional } from './row.js';

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
  /** No such copy is to be made: it is there, or is not required there. */
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
            r.bytes_done, r.session, r.trace_id,
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
   * Claims up to `limit` copies that are due, for any of the locations, of blobs of `minSize` to `maxSize` bytes. Of
   * those that wait, the longest waiting first.
   */
  async claim(
    targets: readonly string[],
    { limit, minSize, maxSize }: { limit: number; minSize: number; maxSize: number },
  ): Promise<Job[]> {
    const rows = await this.#db.query(
      `with due as (
         select r.id from replication r join imagestorage s on s.id = r.storage_id and s.image_size between $3 and $4
          where r.location_id in (select id from imagestoragelocation where name = any ($1)) and r.next_attempt_at <= now()
          order by r.priority desc, r.next_attempt_at limit $2 for update of r skip locked)
       ${claimFor('$5')}`,
      [targets, limit, minSize, maxSize, this.#worker],
    );
    return rows.map(asJob);
  }

  /** Claims one copy, whenever it is due, because somebody waits for it. */
  async claimOne(digest: Digest, target: string): Promise<ClaimOne> {
    const rows = await this.#db.query(
      `with due as (
         select r.id from replication r
          where r.storage_id = (select id from imagestorage where content_checksum = $1)
            and r.location_id = (select id from imagestoragelocation where name = $2)
            and (r.lease_token is null or r.next_attempt_at <= now()) 
            for update of r skip locked)
       ${claimFor('$3')}`,
      [digest, target, this.#worker],
    );
    const [row] = rows;
    if (row) return { kind: 'claimed', job: asJob(row) };
    const [other] = await this.#db.query(
      `select w.address from replication r left join worker w on w.id = r.worker_id and w.lease_until > now()
        where r.storage_id = (select id from imagestorage where content_checksum = $1)
          and r.location_id = (select id from imagestoragelocation where name = $2)`,
      [digest, target],
      { repeatable: true },
    );
    return other ? { kind: 'busy', worker: optional(other, 'address', asText) } : { kind: 'unknown' };
  }

  /** How long, in milliseconds, until the next copy for these locations is due; undefined if there is none. */
  async nextDueMs(targets: readonly string[]): Promise<number | undefined> {
    const [row] = await this.#db.query(
      `select greatest(0, extract(epoch from next_attempt_at - now()) * 1000)::bigint as ms from replication
        where location_id in (select id from imagestoragelocation where name = any ($1)) order by next_attempt_at limit 1`,
      [targets],
      { repeatable: true },
    );
    return row && asSize(row.ms);
  }

  /** Renews claims. Answers those that are still held. */
  async renew(leases: readonly Lease[]): Promise<Set<string>> {
    const rows = await this.#db.query(
      `update replication r set ${LEASE} from unnest($1::bigint[], $2::uuid[]) held (id, token)
        where r.id = held.id and r.lease_token = held.token returning r.id`,
      columns(leases),
    );
    return new Set(rows.map(row => asText(row, 'id')));
  }

  /** Keeps how far a large copy has got, and renews its claim. False if the claim is lost. */
  async checkpoint(lease: Lease, at: { offset: number; session: Buffer }): Promise<boolean> {
    const rows = await this.#db.query(
      `update replication set session = $3, bytes_done = $4, ${LEASE} where id = $1 and lease_token = $2 returning id`,
      [lease.id, lease.token, at.session, at.offset],
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

  /** Postpones a copy that did not succeed. It is never dropped. */
  async postpone(lease: Lease, delayMs: number, reason: string): Promise<void> {
    await this.#db.query(
      `update replication set next_attempt_at = now() + $3 * interval '1 millisecond', last_error = $4, lease_token = null
        where id = $1 and lease_token = $2`,
      [lease.id, lease.token, delayMs, reason.slice(0, 1_000)],
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

function asJob(row: Row): Job {
  const session = optional(row, 'session', asBytes);
  return {
    id: asText(row, 'id'),
    token: asText(row, 'lease_token'),
    digest: asDigestValue(row, 'content_checksum'),
    size: asSize(row.image_size),
    target: asText(row, 'target'),
    sources: asTexts(row, 'sources'),
    attempts: asSize(row.attempts),
    checkpoint: session && { offset: asSize(row.bytes_done), session },
    traceId: optional(row, 'trace_id', asText),
  };
}
