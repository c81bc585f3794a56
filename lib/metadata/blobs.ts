/** Blobs: which repository may pull them, and where they are. */
import type { Digest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/name.js';
import { asSize } from '../oci/size.js';
import { newCall } from './applied-calls.js';
import { causeOf } from './cause.js';
import type { Database } from './database.js';
import { OutageMemory } from './outage.js';
import { asTexts } from './row.js';
import { type MetadataSettings, namePair } from './settings.js';

/** A blob that a repository has. */
export interface FoundBlob {
  readonly size: number;
  /** The names of the locations that hold it. */
  readonly locations: readonly string[];
  /** Whether each copy turned out to be missing or damaged: it is to be sent again. */
  readonly isLost: boolean;
}

/** Whether the repository exists, and the blob if it has it. */
export interface BlobAnswer {
  readonly repositoryKnown: boolean;
  readonly blob?: FoundBlob;
}

/** Repositories by their full names (`library/node`), and by the beginnings of such. */
export interface RepositoriesByName {
  readonly names: readonly string[];
  readonly prefixes: readonly string[];
}

export class Blobs {
  readonly #db: Database;
  readonly #settings: MetadataSettings;
  readonly #outage = new OutageMemory<BlobAnswer>();

  constructor(db: Database, settings: MetadataSettings) {
    this.#db = db;
    this.#settings = settings;
  }

  /** Looks a blob up in a repository: one query, all that a pull needs. */
  find(repository: RepositoryName, digest: Digest): Promise<BlobAnswer> {
    const ask = () => this.#ask(repository, digest);
    return this.#outage.bridge(`${repository}@${digest}`, ask, answer => (answer.blob ? answer : undefined));
  }

  async #ask(repository: RepositoryName, digest: Digest): Promise<BlobAnswer> {
    const [row] = await this.#db.query(
      `select s.image_size,
              array(select l.name from imagestorageplacement p join imagestoragelocation l on l.id = p.location_id
                     where p.storage_id = s.id)::text[] as locations,
              not exists (select from imagestorageplacement p
                           where p.storage_id = s.id and p.distrusted_at is null) as lost
         from repository r
         join "user" u on u.id = r.namespace_user_id
         left join (uploadedblob ub join imagestorage s on s.id = ub.blob_id and s.content_checksum = $3)
           on ub.repository_id = r.id
        where u.username = $1 and r.name = $2`,
      [...namePair(this.#settings, repository), digest],
      { repeatable: true },
    );
    if (!row) return { repositoryKnown: false };
    if (row.image_size === null) return { repositoryKnown: true };
    const blob = { size: asSize(row.image_size), locations: asTexts(row, 'locations'), isLost: row.lost === true };
    return { repositoryKnown: true, blob };
  }

  /**
   * Records that a location holds a blob whose stored bytes were verified there: the placement, the repository's link
   * to it, and the copies that are still missing, in one transaction. Makes the repository if it is new. False, and
   * nothing is recorded, if the namespace's bytes must not be there.
   */
  async record(blob: {
    repository: RepositoryName;
    digest: Digest;
    size: number;
    location: string;
    traceId: string;
  }): Promise<boolean> {
    const [row] = await this.#db.query(
      'select record_blob_once($8, $1, $2, $3, $4, $5, $6, $7) as recorded',
      [
        ...namePair(this.#settings, blob.repository),
        blob.digest,
        blob.size,
        blob.location,
        this.#settings.replicate,
        causeOf(blob.traceId),
        newCall(),
      ],
      { repeatable: true },
    );
    return row?.recorded === true;
  }

  /** Makes a blob of another repository, or of any of several, pullable from this one; undefined if it is not there. */
  async mount(request: {
    repository: RepositoryName;
    digest: Digest;
    from: RepositoryName | RepositoriesByName;
    traceId: string;
  }): Promise<{ size: number } | undefined> {
    const { from } = request;
    const sources =
      typeof from === 'string' ? { names: [namePair(this.#settings, from).join('/')], prefixes: [] } : from;
    const [row] = await this.#db.query(
      'select mount_blob_from($1, $2, $3, $4, $5, $6, $7) as size',
      [
        ...namePair(this.#settings, request.repository),
        request.digest,
        sources.names,
        sources.prefixes,
        this.#settings.replicate,
        causeOf(request.traceId),
      ],
      { repeatable: true },
    );
    return row?.size === null || row?.size === undefined ? undefined : { size: asSize(row.size) };
  }

  /** Takes a blob out of a repository; its bytes stay for the manifests and repositories that refer to it. False if it was not there. */
  async unlink(repository: RepositoryName, digest: Digest): Promise<boolean> {
    const rows = await this.#db.query(
      `delete from uploadedblob ub using repository r, "user" u, imagestorage s
        where r.id = ub.repository_id and u.id = r.namespace_user_id and s.id = ub.blob_id
          and u.username = $1 and r.name = $2 and s.content_checksum = $3
        returning ub.id`,
      [...namePair(this.#settings, repository), digest],
    );
    return rows.length > 0;
  }
}
