/** Queueing what is missing: of all blobs, in the order of their ids, a piece at a time. */
import { type Digest, parseDigest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';

/** Blobs looked at in one transaction. A change of where blobs must be waits for it, and pushes for that: so it is short. */
const BATCH = 2_000;
/** Fewer blobs than this are counted, more are estimated. */
const COUNTED = 100_000;

/** What is to be looked at; ids as the database has them, undefined: all. */
export interface BackfillScope {
  readonly namespace: number | undefined;
  readonly location: number | undefined;
}

/** What was found for one location. */
export interface BackfillFound {
  readonly location: string;
  /** Copies that are queued now, or would be. */
  readonly queued: number;
  readonly alreadyQueued: number;
  readonly inSync: number;
  /** Those that are queued now; empty unless they were asked for. */
  readonly copies: readonly { readonly digest: Digest; readonly size: number }[];
}

/** A piece that was done. */
export interface BackfillStep {
  /** The id of the last blob that was looked at. */
  readonly last: number;
  readonly blobs: number;
  readonly locations: readonly BackfillFound[];
}

export class Backfill {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** How many blobs there are, about. */
  async blobs(): Promise<number> {
    const [row] = await this.#db.query(
      `select case when reltuples >= $1 then reltuples::bigint else (select count(*) from imagestorage) end as blobs
         from pg_class where oid = 'imagestorage'::regclass`,
      [COUNTED],
      { repeatable: true },
    );
    return asSize(row?.blobs);
  }

  /**
   * Looks at the next blobs after the one with the id `after`, and queues what is missing of them, all in one transaction.
   * `dryRun`: changes nothing. `list`: names the copies. Undefined if there are no more blobs.
   */
  async next(
    after: number,
    { namespace, location }: BackfillScope,
    { dryRun, list }: { readonly dryRun: boolean; readonly list: boolean },
  ): Promise<BackfillStep | undefined> {
    const [row] = await this.#db.query(
      'select last, looked, places from backfill_some($1, $2, $3, $4, $5, $6)',
      [after, BATCH, namespace ?? null, location ?? null, dryRun, list],
      { repeatable: true },
    );
    if (!row || row.last === null) return undefined;
    return { last: asSize(row.last), blobs: asSize(row.looked), locations: asFound(row.places) };
  }
}

function asFound(value: unknown): BackfillFound[] {
  if (!Array.isArray(value)) throw new TypeError('the database answered something else than a list as places');
  return value.map(each => ({
    location: String(each.location),
    queued: asSize(each.queued),
    alreadyQueued: asSize(each.already_queued),
    inSync: asSize(each.in_sync),
    copies: each.copies.map(([digest, size]: [unknown, unknown]) => ({ digest: known(digest), size: asSize(size) })),
  }));
}

function known(value: unknown): Digest {
  const digest = typeof value === 'string' ? parseDigest(value) : undefined;
  if (!digest) throw new TypeError('the database answered something else than a digest');
  return digest;
}
