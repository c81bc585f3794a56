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

/** How long a claim lasts without being renewed. */
export const JOB_LEASE_MS = 15_000;

const LEASE = `next_attempt_at = now() + ${JOB_LEASE_MS} * interval '1 millisecond'`;

export class Replication {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
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
       update replication r set lease_token = gen_random_uuid(), attempts = attempts + 1, ${LEASE}
         from due, imagestorage s, imagestoragelocation l
        where r.id = due.id and s.id = r.storage_id and l.id = r.location_id
       returning r.id, r.lease_token, s.content_checksum, s.image_size, l.name as target, r.attempts,
                 r.bytes_done, r.session, r.trace_id,
                 array(select sl.name from imagestorageplacement p join imagestoragelocation sl on sl.id = p.location_id
                        where p.storage_id = s.id)::text[] as sources`,
      [targets, limit, minSize, maxSize],
    );
    return rows.map(asJob);
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
   * transaction. Claims that were lost are passed over.
   */
  async complete(leases: readonly Lease[]): Promise<void> {
    await this.#db.query(
      `with done as (
         delete from replication r using unnest($1::bigint[], $2::uuid[]) held (id, token)
          where r.id = held.id and r.lease_token = held.token returning r.storage_id, r.location_id)
       insert into imagestorageplacement (storage_id, location_id, verified_at)
       select storage_id, location_id, now() from done order by storage_id, location_id
       on conflict (storage_id, location_id) do update set verified_at = excluded.verified_at
        where imagestorageplacement.verified_at is null`,
      columns(leases),
    );
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
