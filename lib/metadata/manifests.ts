/** Manifests, kept byte for byte in the database: an image is pullable everywhere as soon as it is pushed. */
import { z } from 'zod';
import type { Digest } from '../oci/digest.js';
import { parseDigest } from '../oci/digest.js';
import type { ManifestFacts } from '../oci/manifest.js';
import type { RepositoryName, Tag } from '../oci/name.js';
import { asSize } from '../oci/size.js';
import { newCall } from './applied-calls.js';
import { causeOf } from './cause.js';
import type { Database, Row } from './database.js';
import { OutageMemory } from './outage.js';
import { asBytes, asDigestValue, asText, asTexts, optional } from './row.js';
import { type MetadataSettings, namePair } from './settings.js';

/** How a client names a manifest. */
export type Reference = { readonly tag: Tag } | { readonly digest: Digest };

export interface FoundManifest {
  readonly digest: Digest;
  /** The Content-Type that it was pushed with. */
  readonly mediaType: string;
  readonly size: number;
  /** Absent if the caller said that it knows the bytes of this digest, and in an outage of the database. */
  readonly bytes: Buffer | undefined;
}

/** Whether the repository exists, and the manifest if it has it. */
export interface ManifestAnswer {
  readonly repositoryKnown: boolean;
  readonly manifest?: FoundManifest;
}

/** A manifest that is to be stored. */
export interface PushedManifest {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly facts: ManifestFacts;
  readonly tags: readonly Tag[];
  readonly traceId: string;
}

/** What became of a push. */
export type Put =
  | { readonly kind: 'stored'; readonly absent?: Absent }
  /** Nothing was stored: the repository does not have these blobs. */
  | { readonly kind: 'blobs-missing'; readonly digests: readonly Digest[] }
  /** Stored, but not tagged: fewer locations than the write quorum hold these blobs so far (the first 100). */
  | { readonly kind: 'short-of-quorum'; readonly blobs: readonly ShortBlob[]; readonly absent?: Absent };

/** The first of what it lists and the repository does not have, if it lacks any: children, which may come later. */
export type Absent = readonly Digest[];

/** A blob that is not in enough locations yet. */
export interface ShortBlob {
  readonly digest: Digest;
  /** The names of the locations that it must be in, and is not, verified. */
  readonly lacking: readonly string[];
}

/** How many digests an answer names at most, where there may be thousands. */
const NAMED_DIGESTS = 5;

export class Manifests {
  readonly #db: Database;
  readonly #settings: MetadataSettings;
  readonly #outage = new OutageMemory<ManifestAnswer>();

  constructor(db: Database, settings: MetadataSettings) {
    this.#db = db;
    this.#settings = settings;
  }

  /**
   * Looks a manifest up: one query. `known` is a digest whose bytes the caller has: if it is the answer, its bytes are
   * not sent again.
   */
  find(repository: RepositoryName, reference: Reference, known?: Digest): Promise<ManifestAnswer> {
    const name = 'tag' in reference ? `:${reference.tag}` : `@${reference.digest}`;
    const ask = () => this.#ask(repository, reference, known);
    return this.#outage.bridge(repository + name, ask, withoutBytes);
  }

  async #ask(repository: RepositoryName, reference: Reference, known: Digest | undefined): Promise<ManifestAnswer> {
    const byTag = 'tag' in reference;
    const wanted = byTag
      ? `(tag t join manifest m on m.id = t.manifest_id and t.name = $3 and t.lifetime_end_ms is null)
           on t.repository_id = r.id`
      : 'manifest m on m.repository_id = r.id and m.digest = $3';
    const [row] = await this.#db.query(
      `select m.digest, mt.name as media_type, octet_length(m.manifest_bytes) as size,
              case when m.digest = $4 then null else m.manifest_bytes end as bytes
         from repository r
         join "user" u on u.id = r.namespace_user_id
         left join ${wanted}
         left join mediatype mt on mt.id = m.media_type_id
        where u.username = $1 and r.name = $2`,
      [...namePair(this.#settings, repository), byTag ? reference.tag : reference.digest, known ?? null],
      { repeatable: true },
    );
    if (!row) return { repositoryKnown: false };
    if (row.digest === null) return { repositoryKnown: true };
    return {
      repositoryKnown: true,
      manifest: {
        digest: asDigestValue(row, 'digest'),
        mediaType: asText(row, 'media_type'),
        size: asSize(row.size),
        bytes: optional(row, 'bytes', asBytes),
      },
    };
  }

  /**
   * Stores a manifest, links its blobs and children, queues the copies that this causes, and points the tags to it: one
   * transaction, one round trip. Stores nothing if the repository lacks a blob that it needs, unless images may be sparse.
   */
  async put(manifest: PushedManifest): Promise<Put> {
    const { blobs } = manifest.facts;
    const outcome = await this.#put(manifest, blobs);
    if (outcome.kind !== 'blobs-missing' || !this.#settings.sparseImages) return outcome;
    const missing = new Set(outcome.digests);
    const sparse = await this.#put(
      manifest,
      blobs.filter(each => !missing.has(each)),
    );
    return sparse.kind === 'blobs-missing' ? sparse : { ...sparse, absent: outcome.digests.slice(0, NAMED_DIGESTS) };
  }

  async #put(manifest: PushedManifest, blobs: readonly Digest[]): Promise<Put> {
    const { facts } = manifest;
    const [row] = await this.#db.query(
      `select missing, short,
              array(select c from unnest($12::text[]) c
                     where c <> $3 and not exists (
                       select from manifest m join repository r on r.id = m.repository_id join "user" u on u.id = r.namespace_user_id
                        where u.username = $1 and r.name = $2 and m.digest = c)
                     order by c limit ${NAMED_DIGESTS})::text[] as absent
         from put_manifest_once($17, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
      [
        ...namePair(this.#settings, manifest.repository),
        manifest.digest,
        facts.mediaType,
        manifest.bytes,
        facts.configMediaType ?? null,
        facts.layersSize,
        facts.subject ?? null,
        facts.artifactType ?? null,
        JSON.stringify(facts.annotations),
        blobs,
        facts.children,
        manifest.tags,
        this.#settings.replicate,
        this.#settings.writeQuorum,
        causeOf(manifest.traceId),
        newCall(),
      ],
      { repeatable: true },
    );
    if (!row) throw new TypeError('the database did not say what became of a manifest');
    const missing = asDigests(row, 'missing');
    if (missing.length > 0) return { kind: 'blobs-missing', digests: missing };
    const absent = asDigests(row, 'absent');
    return { ...taggedOrShort(row), ...(absent.length > 0 ? { absent } : {}) };
  }

  /**
   * Points tags to a manifest that `put` stored `waitedMs` milliseconds ago, if enough locations hold all of it by now.
   * Undefined if the manifest has been deleted meanwhile.
   */
  async tag(
    repository: RepositoryName,
    digest: Digest,
    tags: readonly Tag[],
    waitedMs: number,
  ): Promise<Exclude<Put, { kind: 'blobs-missing' }> | undefined> {
    const [row] = await this.#db.query(
      'select tag_stored_manifest_once($8, $1, $2, $3, $4, $5, $6, $7) as short',
      [
        ...namePair(this.#settings, repository),
        digest,
        tags,
        this.#settings.replicate,
        this.#settings.writeQuorum,
        Math.round(waitedMs),
        newCall(),
      ],
      { repeatable: true },
    );
    return row?.short ? taggedOrShort(row) : undefined;
  }

  /**
   * Deletes a manifest, and with it the tags that point to it; what refers to it stays. Answers the first of the indexes
   * that still list it, and can no longer be pulled whole; undefined if it was not there.
   */
  async remove(repository: RepositoryName, digest: Digest): Promise<readonly Digest[] | undefined> {
    const [row] = await this.#db.query(
      'select indexes from remove_manifest($1, $2, $3, $4) where indexes is not null',
      [...namePair(this.#settings, repository), digest, NAMED_DIGESTS],
    );
    return row && asDigests(row, 'indexes');
  }
}

const shortBlobs = z.array(z.object({ digest: z.string(), lacking: z.array(z.string()) }));

function taggedOrShort(row: Row): Exclude<Put, { kind: 'blobs-missing' }> {
  const blobs = shortBlobs.parse(row.short).map(({ digest, lacking }) => {
    return { digest: asDigestValue({ digest }, 'digest'), lacking };
  });
  return blobs.length > 0 ? { kind: 'short-of-quorum', blobs } : { kind: 'stored' };
}

function asDigests(row: Row, column: string): Digest[] {
  return asTexts(row, column).flatMap(text => parseDigest(text) ?? []);
}

/** A manifest may have megabytes, and its bytes are the cache's business (lib/cache). */
function withoutBytes({ repositoryKnown, manifest }: ManifestAnswer): ManifestAnswer | undefined {
  return manifest && { repositoryKnown, manifest: { ...manifest, bytes: undefined } };
}
