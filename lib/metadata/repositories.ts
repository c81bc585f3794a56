/** Repositories, by name. */
import { LONGEST_NAME, parseRepository, type RepositoryName } from '../oci/name.js';
import type { RepositoriesByName } from './blobs.js';
import type { Database } from './database.js';
import { asText } from './row.js';

/** A part of the list of all repositories. */
export interface RepositoryPage {
  readonly last: RepositoryName | undefined;
  readonly limit: number;
  /** Those that may be told. */
  readonly visible: RepositoriesByName;
}

export class Repositories {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * The next `limit` repositories after `last` in ASCII order, each with its namespace: `library/node`; of those that are
   * visible only. One that holds no manifest is left out: a push that has only begun, or has been deleted, makes no
   * repository worth a visit. So is one whose name would be too long with its namespace: nobody could ask for it by that.
   */
  async list({ last, limit, visible }: RepositoryPage): Promise<RepositoryName[]> {
    // A namespace has no slash in it, so this is the order of the whole names, and an index has it.
    const slash = last?.indexOf('/') ?? -1;
    const after =
      last === undefined ? ['', ''] : slash < 0 ? [last, ''] : [last.slice(0, slash + 1), last.slice(slash + 1)];
    const rows = await this.#db.query(
      `select u.username || '/' || r.name as name
         from "user" u join repository r on r.namespace_user_id = u.id
        where u.username || '/' >= $1 and (u.username || '/', r.name) > ($1, $2)
          and length(u.username || '/' || r.name) <= $6
          and (u.username || '/' || r.name = any ($4)
               or exists (select from unnest($5::text[]) prefix where starts_with(u.username || '/' || r.name, prefix)))
          and exists (select from manifest m where m.repository_id = r.id offset 0)
        order by u.username || '/', r.name limit $3`,
      [...after, limit, visible.names, visible.prefixes, LONGEST_NAME],
      { repeatable: true },
    );
    return rows.flatMap(row => parseRepository(asText(row, 'name')) ?? []);
  }
}
