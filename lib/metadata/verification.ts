/** Comparing a location's store with what is recorded about it: the records, and how far a verification has got. */
import type { Digest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import { asDigestValue, asText } from './row.js';

/** One verification: those that differ are gone on with independently of each other. */
export interface VerificationKind {
  readonly location: string;
  readonly depth: 'size' | 'digest';
  /** The part of the blobs that is looked at; 100: all of them. */
  readonly percent: number;
}

/** What a verification has found so far. */
export interface VerificationCounts {
  readonly blobsDone: number;
  readonly bytesHashed: number;
  readonly missing: number;
  readonly corrupt: number;
  readonly newlyVerified: number;
  readonly unreferenced: number;
}

/** How far it has got: past this digest; empty: nowhere yet. */
export interface VerificationPosition {
  readonly after: string;
  readonly counts: VerificationCounts;
}

/** A copy, as recorded. */
export interface RecordedCopy {
  readonly digest: Digest;
  readonly size: number;
  readonly verified: boolean;
}

export class Verification {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** How many copies are recorded there. */
  async total(location: string): Promise<number> {
    const [row] = await this.#db.query(
      `select c.blobs from imagestoragelocation l join locationsum c on c.location_id = l.id where l.name = $1`,
      [location],
      { repeatable: true },
    );
    return asSize(row?.blobs ?? 0);
  }

  /** Where an earlier call stopped; undefined if none did. */
  async position({ location, depth, percent }: VerificationKind): Promise<VerificationPosition | undefined> {
    const [row] = await this.#db.query(
      `select v.* from verification v join imagestoragelocation l on l.id = v.location_id
        where l.name = $1 and v.depth = $2 and v.percent = $3`,
      [location, depth, percent],
      { repeatable: true },
    );
    if (!row) return undefined;
    return {
      after: asText(row, 'after_digest'),
      counts: {
        blobsDone: asSize(row.blobs_done),
        bytesHashed: asSize(row.bytes_hashed),
        missing: asSize(row.missing),
        corrupt: asSize(row.corrupt),
        newlyVerified: asSize(row.newly_verified),
        unreferenced: asSize(row.unreferenced),
      },
    };
  }

  async keepPosition({ location, depth, percent }: VerificationKind, at: VerificationPosition): Promise<void> {
    const { counts } = at;
    await this.#db.query(
      `insert into verification (location_id, depth, percent, after_digest, blobs_done, bytes_hashed, missing, corrupt,
                                 newly_verified, unreferenced)
       select id, $2, $3, $4, $5, $6, $7, $8, $9, $10 from imagestoragelocation where name = $1
       on conflict (location_id, depth, percent) do update
         set after_digest = excluded.after_digest, blobs_done = excluded.blobs_done,
             bytes_hashed = excluded.bytes_hashed, missing = excluded.missing, corrupt = excluded.corrupt,
             newly_verified = excluded.newly_verified, unreferenced = excluded.unreferenced, updated_at = now()`,
      [
        ...[location, depth, percent, at.after, counts.blobsDone, counts.bytesHashed, counts.missing, counts.corrupt],
        ...[counts.newlyVerified, counts.unreferenced],
      ],
      { repeatable: true },
    );
  }

  /** The verification is done: the next one begins at the start. */
  async forgetPosition({ location, depth, percent }: VerificationKind): Promise<void> {
    await this.#db.query(
      `delete from verification v using imagestoragelocation l
        where l.id = v.location_id and l.name = $1 and v.depth = $2 and v.percent = $3`,
      [location, depth, percent],
      { repeatable: true },
    );
  }

  /** The next copies after a digest, in the order of digests. */
  async copiesAfter(location: string, after: string, limit: number): Promise<RecordedCopy[]> {
    const rows = await this.#db.query('select * from placements_after($1, $2, $3)', [location, after, limit], {
      repeatable: true,
    });
    return rows.map(row => ({
      digest: asDigestValue(row, 'digest'),
      size: asSize(row.size),
      verified: row.verified === true,
    }));
  }

  /** Those of these blobs that are recorded there now. */
  async recorded(location: string, digests: readonly Digest[]): Promise<Set<Digest>> {
    const rows = await this.#db.query(
      `select s.content_checksum from imagestorage s join imagestorageplacement p on p.storage_id = s.id
         join imagestoragelocation l on l.id = p.location_id
        where l.name = $1 and s.content_checksum = any ($2)`,
      [location, digests],
      { repeatable: true },
    );
    return new Set(rows.map(row => asDigestValue(row, 'content_checksum')));
  }

  /** A copy was hashed, and is good: from now on it counts. False if it did already, or is gone. */
  async noteVerified(location: string, digest: Digest): Promise<boolean> {
    const [row] = await this.#db.query('select note_verified($1, $2) as noted', [digest, location]);
    return row?.noted === true;
  }
}
