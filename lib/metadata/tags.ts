/** Tags: the names that point to manifests. */
import type { RepositoryName, Tag } from '../oci/name.js';
import type { Database } from './database.js';
import { asTexts } from './row.js';
import { type MetadataSettings, namePair } from './settings.js';

export class Tags {
  readonly #db: Database;
  readonly #settings: MetadataSettings;

  constructor(db: Database, settings: MetadataSettings) {
    this.#db = db;
    this.#settings = settings;
  }

  /** The next `limit` tags after `last`, in ASCII order, and whether more follow; undefined if the repository is unknown. */
  async list(
    repository: RepositoryName,
    page: { last?: string | undefined; limit: number },
  ): Promise<{ tags: string[]; more: boolean } | undefined> {
    const [row] = await this.#db.query(
      `select array(select t.name from tag t
                     where t.repository_id = r.id and t.lifetime_end_ms is null and not t.hidden
                       and ($3::text is null or t.name > $3) order by t.name limit $4)::text[] as tags
         from repository r join "user" u on u.id = r.namespace_user_id
        where u.username = $1 and r.name = $2`,
      [...namePair(this.#settings, repository), page.last ?? null, page.limit + 1],
      { repeatable: true },
    );
    if (!row) return undefined;
    const tags = asTexts(row, 'tags');
    return { tags: tags.slice(0, page.limit), more: tags.length > page.limit };
  }

  /** Ends a tag; the manifest stays. False if the tag was not there. */
  async remove(repository: RepositoryName, tag: Tag): Promise<boolean> {
    const [row] = await this.#db.query('select remove_tag($1, $2, $3) as removed', [
      ...namePair(this.#settings, repository),
      tag,
    ]);
    return row?.removed === true;
  }
}
