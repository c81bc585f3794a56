/** Where an image is, location by location. */
import { type Digest, parseDigest } from '../oci/digest.js';
import type { RepositoryName } from '../oci/name.js';
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import type { Reference } from './manifests.js';
import { asDigestValue, asText } from './row.js';
import { type MetadataSettings, namePair } from './settings.js';

/** A blob that a location lacks, or has unverified. */
export interface LackingBlob {
  readonly digest: Digest;
  readonly size: number;
  /** Why, in words. */
  readonly reason: string;
  /** How often the copy has been tried. */
  readonly attempts: number;
  /** The other locations that have it. */
  readonly heldBy: readonly string[];
}

/** An image in one location. */
export interface ImagePlace {
  readonly location: string;
  readonly required: boolean;
  /** Blobs that are not there, or not verified; the first 100 are listed. */
  readonly missing: number;
  readonly listed: readonly LackingBlob[];
}

/** An image, and where it is. */
export interface ImageReplication {
  readonly digest: Digest;
  /** The blobs that it has, those of its children that are here counted too. */
  readonly blobs: number;
  readonly places: readonly ImagePlace[];
}

/** Finds an image by its tag or digest; undefined if the repository does not have it. */
export async function readImageReplication(
  db: Database,
  settings: MetadataSettings,
  repository: RepositoryName,
  reference: Reference,
): Promise<ImageReplication | undefined> {
  const [image] = await db.query(
    `select m.id, m.digest,
            (select count(distinct mb.blob_id) from manifest_tree(m.id) t (id) join manifestblob mb on mb.manifest_id = t.id)
              as blobs
       from repository r join "user" u on u.id = r.namespace_user_id join manifest m on m.repository_id = r.id
      where u.username = $1 and r.name = $2
        and (m.digest = $3 or m.id = (select t.manifest_id from tag t
                                       where t.repository_id = r.id and t.name = $4 and t.lifetime_end_ms is null))`,
    [
      ...namePair(settings, repository),
      'digest' in reference ? reference.digest : null,
      'tag' in reference ? reference.tag : null,
    ],
    { repeatable: true },
  );
  if (!image) return undefined;
  const rows = await db.query(
    'select location, required, missing, listed from image_replication($1)',
    [asSize(image.id)],
    { repeatable: true },
  );
  return {
    digest: asDigestValue(image, 'digest'),
    blobs: asSize(image.blobs),
    places: rows.map(row => ({
      location: asText(row, 'location'),
      required: row.required === true,
      missing: asSize(row.missing),
      listed: asListed(row.listed),
    })),
  };
}

function asListed(value: unknown): LackingBlob[] {
  if (!Array.isArray(value)) throw new TypeError('the database answered something else than a list as listed');
  return value.map(each => {
    const digest = parseDigest(String(each.digest));
    if (!digest) throw new TypeError('the database answered something else than a digest');
    return {
      digest,
      size: asSize(each.size),
      reason: String(each.reason),
      attempts: asSize(each.attempts),
      heldBy: each.held_by.map(String),
    };
  });
}
