/** The copies that are still to be made, all together: how many they are, and those that failed tried again. One by one: replication.ts. */
import type { Digest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import { asText } from './row.js';

/** What is still to be copied. */
export interface Backlog {
  readonly locations: readonly {
    readonly location: string;
    /** Copies that are missing there. */
    readonly blobs: number;
    readonly bytes: number;
    /** How long ago the one that is missing longest became necessary; 0 if none is missing. */
    readonly oldestSeconds: number;
  }[];
  /** Changes of where blobs must be whose difference is still being queued. */
  readonly requeues: number;
}

/** Copies that `retrySome` sets free in one transaction. */
const RETRIED_AT_ONCE = 2_000;

/** Reads what is still to be done, for each location; and how many changes of the requirements are still to be queued. */
export async function readBacklog(db: Database): Promise<Backlog> {
  const rows = await db.query(
    `select l.name, c.missing as blobs, c.missing_bytes as bytes, (select count(*) from requeue) as requeues,
            coalesce((select extract(epoch from now() - r.created_at) from replication r
                       where r.location_id = l.id and not r.rescue order by r.created_at limit 1), 0)::float8 as age
       from imagestoragelocation l join locationsum c on c.location_id = l.id
      order by l.name`,
    [],
    { repeatable: true },
  );
  return {
    requeues: asSize(rows[0]?.requeues ?? 0),
    locations: rows.map(row => ({
      location: asText(row, 'name'),
      blobs: asSize(row.blobs),
      bytes: asSize(row.bytes),
      oldestSeconds: Math.max(0, Number(row.age)),
    })),
  };
}

/**
 * Has some of the copies that failed, and wait for their next try, tried at once: to one location (by its id) or all, of
 * one blob or all. Answers how many; 0 if there are no more.
 */
export async function retrySome(
  db: Database,
  location: number | undefined,
  digest: Digest | undefined,
): Promise<number> {
  const rows = await db.query(
    `update replication set next_attempt_at = now()
      where id in (
        select id from replication
         where last_error is not null and lease_token is null and next_attempt_at > now()
           and ($1::integer is null or location_id = $1)
           and ($2::text is null or storage_id = (select id from imagestorage where content_checksum = $2))
         limit $3 for update skip locked)
      returning id`,
    [location ?? null, digest ?? null, RETRIED_AT_ONCE],
  );
  return rows.length;
}
