/**
 * What refers to a manifest: the manifests that name it as their subject, and those that a client has listed for it
 * under the tag `sha256-<hex>` (distribution specification, "Referrers Tag Schema"), as clients do for a registry that
 * cannot answer this question. Both are read from the manifests as they are now, so what is deleted is gone at once.
 */
import { z } from 'zod';
import { algorithmOf, type Digest, hexOf } from '../oci/digest.js';
import type { RepositoryName } from '../oci/name.js';
import { asSize } from '../oci/size.js';
import type { Database, Row } from './database.js';
import { asDigestValue, asText, optional } from './row.js';
import { type MetadataSettings, namePair } from './settings.js';

export interface Referrer {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ReferrersPage {
  readonly referrers: readonly Referrer[];
  /** Whether others follow after the last of these. */
  readonly more: boolean;
}

/**
 * The manifests of a page have so many bytes together at most (or it is one manifest). Their annotations, which the
 * answer repeats, may be nearly all of that.
 */
const PAGE_BYTES = 4 * 1024 * 1024;

export class Referrers {
  readonly #db: Database;
  readonly #settings: MetadataSettings;

  constructor(db: Database, settings: MetadataSettings) {
    this.#db = db;
    this.#settings = settings;
  }

  /**
   * The next `limit` referrers of `subject` after `last`, in the order of their digests; fewer if they are large.
   * `artifactType` leaves out all others. None for what is unknown: a subject need not be there, nor its repository.
   */
  async list(
    repository: RepositoryName,
    subject: Digest,
    page: { artifactType: string | undefined; last: Digest | undefined; limit: number },
  ): Promise<ReferrersPage> {
    const rows = await this.#db.query(
      `with repo as (
         select r.id from repository r join "user" u on u.id = r.namespace_user_id where u.username = $1 and r.name = $2),
       named as (
         select m.id, m.digest from manifest m
          where m.repository_id = (select id from repo) and m.subject = $3
            and m.digest > $5 and ($6::text is null or m.artifact_type = $6)
          order by m.digest limit $7),
       tagged as (
         select m.id, m.digest
           from tag t
           join manifest list on list.id = t.manifest_id
           join manifest m on m.repository_id = t.repository_id and m.digest = any (list.child_digests)
          where t.repository_id = (select id from repo) and t.name = $4 and t.lifetime_end_ms is null
            and coalesce(m.subject, $3) = $3 and m.digest > $5 and ($6::text is null or m.artifact_type = $6)
          order by m.digest limit $7),
       found as (
         select f.id, f.digest, octet_length(m.manifest_bytes) as size
           from (select id, digest from named union select id, digest from tagged order by digest limit $7) f
           join manifest m on m.id = f.id),
       measured as (
         select *, row_number() over w as place, sum(size) over w as together from found window w as (order by digest))
       select f.digest, f.size, mt.name as media_type, m.artifact_type, m.annotations,
              (select count(*) from found)::int as total
         from measured f join manifest m on m.id = f.id join mediatype mt on mt.id = m.media_type_id
        where f.place < $7 and (f.place = 1 or f.together <= $8)
        order by f.digest`,
      [
        ...namePair(this.#settings, repository),
        subject,
        referrersTag(subject),
        page.last ?? '',
        page.artifactType ?? null,
        page.limit + 1,
        PAGE_BYTES,
      ],
      { repeatable: true },
    );
    return { referrers: rows.map(asReferrer), more: rows.length < Number(rows[0]?.total ?? 0) };
  }
}

/** The tag under which clients list the referrers of a digest where they cannot ask for them: at most 97 characters. */
function referrersTag(subject: Digest): string {
  return `${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`;
}

const annotations = z.record(z.string(), z.string());

function asReferrer(row: Row): Referrer {
  return {
    mediaType: asText(row, 'media_type'),
    digest: asDigestValue(row, 'digest'),
    size: asSize(row.size),
    artifactType: optional(row, 'artifact_type', asText),
    annotations: annotations.parse(row.annotations),
  };
}
