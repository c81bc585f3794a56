/**
 * Uploads: unfinished pushes of one blob.
 *
 * The row holds the newest checkpoint, so that any gateway goes on where another stopped. A writer takes a lease with
 * one UPDATE that also compares the byte count; every later statement of that writer asks for its lease. Bytes are
 * safe without it, since a session stands for exactly the bytes that led to it: the lease is there so that two clients
 * of one upload get a clear answer.
 */

import type { Digest } from '../oci/digest.js';
import { type DigestAlgorithm, isDigestAlgorithm } from '../oci/digest.js';
import type { RepositoryName } from '../oci/name.js';
import { asSize } from '../oci/size.js';
import { causeOf } from './cause.js';
import type { Database, Row } from './database.js';
import type { AllowedLocations } from './namespaces.js';
import { asBytes, asText, asTexts, optional } from './row.js';
import { type MetadataSettings, namePair } from './settings.js';

/** How long a writer may be silent before another may take over; it renews in a third of that. */
export const WRITER_LEASE_MS = 15_000;

export interface Upload {
  readonly uuid: string;
  /** The name of the location that holds its bytes. */
  readonly location: string;
  /** How many bytes are there, as of the newest checkpoint. */
  readonly byteCount: number;
  /** With which its location's nodes go on; opaque. */
  readonly session: Buffer;
  readonly algorithm: DigestAlgorithm;
  /** Whether its bytes may stay where they are: its namespace may be kept in other locations since it began. */
  readonly allowed: boolean;
}

/** What became of the wish to record how far a writer is. */
export type Advance =
  | 'held'
  /** Somebody else writes now, or the upload is gone. */
  | 'lost'
  /** It was recorded, but the upload's bytes must not stay where they are. */
  | 'misplaced';

/** What became of the wish to end an upload. */
export type Finish =
  | 'done'
  /** The upload is gone, or is no longer as the caller thinks. */
  | 'changed'
  /** The blob must not be there, and is not recorded. */
  | 'misplaced';

/** What became of the wish to write to an upload. */
export type Claim =
  | { readonly kind: 'claimed'; readonly upload: Upload }
  | { readonly kind: 'unknown' }
  /** The upload is elsewhere than the caller thought. */
  | { readonly kind: 'offset'; readonly byteCount: number }
  /** Somebody else is writing. */
  | { readonly kind: 'busy' };

const COLUMNS = `b.uuid, l.name as location, b.byte_count, b.session, b.algorithm, is_allowed(b) as allowed`;
const OF_REPOSITORY = `b.uuid = $3 and b.location_id = l.id and b.repository_id = r.id and r.namespace_user_id = u.id
  and u.username = $1 and r.name = $2`;
const TABLES = `imagestoragelocation l, repository r, "user" u`;

export class Uploads {
  readonly #db: Database;
  readonly #settings: MetadataSettings;

  constructor(db: Database, settings: MetadataSettings) {
    this.#db = db;
    this.#settings = settings;
  }

  /**
   * Records a new upload, unless the namespace's bytes must not go to that location; makes the repository if it is new.
   * Answers where they may go, too, so that this is all that the beginning of a push asks.
   */
  async create(upload: {
    repository: RepositoryName;
    uuid: string;
    location: string;
    session: Buffer;
    algorithm: DigestAlgorithm;
  }): Promise<{ created: boolean; allowed: AllowedLocations }> {
    const [row] = await this.#db.query('select created, allowed from create_upload($1, $2, $3, $4, $5, $6)', [
      ...namePair(this.#settings, upload.repository),
      ...[upload.uuid, upload.location, upload.session, upload.algorithm],
    ]);
    return { created: row?.created === true, allowed: row && optional(row, 'allowed', asTexts) };
  }

  async find(repository: RepositoryName, uuid: string): Promise<Upload | undefined> {
    const [row] = await this.#db.query(
      `select ${COLUMNS} from blobupload b, ${TABLES} where ${OF_REPOSITORY}`,
      [...namePair(this.#settings, repository), uuid],
      { repeatable: true },
    );
    return row && asUpload(row);
  }

  /** Takes the writer's lease; with `offset`, only if the upload is there. One round trip when it succeeds. */
  async claim(repository: RepositoryName, uuid: string, writer: string, offset?: number): Promise<Claim> {
    const name = namePair(this.#settings, repository);
    const [claimed] = await this.#db.query(
      `update blobupload b set writer = $4, lease_until = now() + $5 * interval '1 millisecond' from ${TABLES}
        where ${OF_REPOSITORY} and ($6::bigint is null or b.byte_count = $6)
          and (b.lease_until is null or b.lease_until < now() or b.writer = $4)
        returning ${COLUMNS}`,
      [...name, uuid, writer, WRITER_LEASE_MS, offset ?? null],
      // The same writer may have it twice.
      { repeatable: true },
    );
    if (claimed) return { kind: 'claimed', upload: asUpload(claimed) };
    const upload = await this.find(repository, uuid);
    if (!upload) return { kind: 'unknown' };
    return offset !== undefined && upload.byteCount !== offset
      ? { kind: 'offset', byteCount: upload.byteCount }
      : { kind: 'busy' };
  }

  /** Records a checkpoint and renews the lease. */
  async checkpoint(uuid: string, writer: string, at: { byteCount: number; session: Buffer }): Promise<Advance> {
    return this.#advance(uuid, writer, at, WRITER_LEASE_MS);
  }

  /** Records the last checkpoint of this writer and gives the lease up. */
  async release(uuid: string, writer: string, at: { byteCount: number; session: Buffer }): Promise<Advance> {
    return this.#advance(uuid, writer, at, undefined);
  }

  async #advance(
    uuid: string,
    writer: string,
    at: { byteCount: number; session: Buffer },
    leaseMs: number | undefined,
  ): Promise<Advance> {
    const [row] = await this.#db.query(
      `update blobupload b set byte_count = $3, session = $4, updated_at = now(),
              chunk_count = chunk_count + case when $5::int is null then 1 else 0 end,
              writer = case when $5::int is null then null else writer end,
              lease_until = now() + $5::int * interval '1 millisecond'
        where uuid = $1 and writer = $2 returning is_allowed(b) as allowed`,
      [uuid, writer, at.byteCount, at.session, leaseMs ?? null],
    );
    if (!row) return 'lost';
    return row.allowed === true ? 'held' : 'misplaced';
  }

  /**
   * Ends an upload whose blob is committed at its location: everything `Blobs.record` does, and the upload's row goes,
   * in one transaction. `held` is the writer that holds the lease, or the byte count that the caller saw when nobody
   * did.
   */
  async finish(upload: {
    repository: RepositoryName;
    uuid: string;
    held: { writer: string } | { byteCount: number };
    digest: Digest;
    size: number;
    location: string;
    traceId: string;
  }): Promise<Finish> {
    const { held } = upload;
    const [row] = await this.#db.query('select finish_upload($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as done', [
      ...namePair(this.#settings, upload.repository),
      upload.uuid,
      'writer' in held ? held.writer : null,
      'byteCount' in held ? held.byteCount : null,
      upload.digest,
      upload.size,
      upload.location,
      this.#settings.replicate,
      causeOf(upload.traceId),
    ]);
    if (row?.done === null) return 'misplaced';
    return row?.done === true ? 'done' : 'changed';
  }

  /** Forgets an upload; answers what it was, so that the caller can free its bytes. */
  async remove(repository: RepositoryName, uuid: string): Promise<Upload | undefined> {
    const [row] = await this.#db.query(
      `delete from blobupload b using ${TABLES} where ${OF_REPOSITORY} returning ${COLUMNS}`,
      [...namePair(this.#settings, repository), uuid],
    );
    return row && asUpload(row);
  }

  /** Forgets up to `limit` uploads that nobody wrote to for `minutes`; answers what they were. */
  async removeStale(minutes: number, limit: number): Promise<Upload[]> {
    const rows = await this.#db.query(
      `delete from blobupload b using imagestoragelocation l
        where b.location_id = l.id and b.id in (
          select id from blobupload where updated_at < now() - $1 * interval '1 minute'
             and (lease_until is null or lease_until < now())
           order by updated_at limit $2 for update skip locked)
        returning ${COLUMNS}`,
      [minutes, limit],
    );
    return rows.map(asUpload);
  }
}

function asUpload(row: Row): Upload {
  const algorithm = asText(row, 'algorithm');
  if (!isDigestAlgorithm(algorithm)) throw new TypeError('the database answered an unknown digest algorithm');
  return {
    uuid: asText(row, 'uuid'),
    location: asText(row, 'location'),
    byteCount: asSize(row.byte_count),
    session: asBytes(row, 'session'),
    algorithm,
    allowed: row.allowed === true,
  };
}
