/** How the locations do: what is in each, and what is missing there, exactly, as one moment of the database says. */
import { asSize } from '../oci/size.js';
import type { Database, Row } from './database.js';
import { asNumber, asText, asTexts, optional } from './row.js';
import type { Limits } from './workers.js';

/** Whether a location is in use, or on its way out. */
export type LocationState = 'active' | 'draining' | 'removing';

/** One location. */
export interface LocationRow {
  readonly name: string;
  readonly state: LocationState;
  readonly paused: boolean;
  /** Every blob must be there. */
  readonly isDefault: boolean;
  /** Copies that are there, the unverified ones too; and their bytes. */
  readonly blobs: number;
  readonly bytes: number;
  readonly unverified: number;
  /** Copies that are required, and not there or not verified; and their bytes. */
  readonly missing: number;
  readonly missingBytes: number;
  /** How long ago the one that is missing longest became necessary; 0 if none is. */
  readonly oldestMissingMs: number;
  /** What a copy to it that failed, and is still missing, failed with: of those, the one that is to wait longest. */
  readonly lastError: string | undefined;
  readonly limits: Limits;
  /** The addresses of the living workers that copy to it. */
  readonly workers: readonly string[];
  /** None of its own workers lives. */
  readonly orphaned: boolean;
}

/** All locations. */
export interface Status {
  readonly locations: readonly LocationRow[];
  /** Changes of where blobs must be whose difference is still to be queued; pushes without replication count as one. */
  readonly openChanges: number;
}

/** Reads them. What it costs does not depend on how many blobs there are. */
export async function readStatus(db: Database): Promise<Status> {
  const rows = await db.query(
    `select l.name, coalesce(s.state, 'active') as state, coalesce(s.paused, false) as paused,
            exists (select from defaultlocation d where d.location_id = l.id) as is_default,
            c.blobs, c.bytes, c.unverified, c.missing, c.missing_bytes, k.concurrency, k.bytes_per_second,
            (select floor(extract(epoch from now() - r.created_at) * 1000)::bigint from replication r
              where r.location_id = l.id and not r.rescue order by r.created_at limit 1) as oldest_ms,
            (select r.last_error from replication r
              where r.location_id = l.id and r.last_error is not null order by r.next_attempt_at desc limit 1) as last_error,
            o.orphaned,
            array(select w.address from living_worker w
                   where l.name = any (case when o.orphaned then w.knows else w.locations end) order by w.address)::text[]
              as workers,
            (select count(*) from requeue) + (select count(*) from replicationgap) as open_changes
       from imagestoragelocation l
       left join locationstate s on s.location_id = l.id
       left join locationlimit k on k.location_id = l.id
       join locationsum c on c.location_id = l.id
       cross join lateral (
         select not exists (select from worker w where w.lease_until > now() and l.name = any (w.locations)) as orphaned) o
      order by l.name collate "C"`,
    [],
    { repeatable: true },
  );
  return { locations: rows.map(asLocation), openChanges: asSize(rows[0]?.open_changes ?? 0) };
}

function asLocation(row: Row): LocationRow {
  return {
    name: asText(row, 'name'),
    state: asState(row),
    paused: row.paused === true,
    isDefault: row.is_default === true,
    blobs: asSize(row.blobs),
    bytes: asSize(row.bytes),
    unverified: asSize(row.unverified),
    missing: asSize(row.missing),
    missingBytes: asSize(row.missing_bytes),
    oldestMissingMs: Math.max(0, Number(row.oldest_ms ?? 0)),
    lastError: optional(row, 'last_error', asText),
    limits: {
      concurrency: optional(row, 'concurrency', asNumber),
      bytesPerSecond: optional(row, 'bytes_per_second', asNumber),
    },
    workers: asTexts(row, 'workers'),
    orphaned: row.orphaned === true,
  };
}

function asState(row: Row): LocationState {
  const state = asText(row, 'state');
  if (state === 'active' || state === 'draining' || state === 'removing') return state;
  throw new TypeError('the database answered an unknown state of a location');
}
