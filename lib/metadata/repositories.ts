/** Repositories, by name. */
import { parseRepository, type RepositoryName } from '../oci/name.js';
import type { Database } from './database.js';
import { asText } from './row.js';

export class Repositories {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * The next `limit` repositories after `last` in ASCII order, each with its namespace: `library/node`. One that holds no
   * manifest is left out: a push that has only begun, or has been deleted, makes no repository worth a visit.
   */
  async list({ last, limit }: { last: RepositoryName | undefined; limit: number }): Promise<RepositoryName[]> {
    // A namespace has no slash in it, so this is the order of the whole names, and an index has it.
    const slash = last?.indexOf('/') ?? -1;
    const after =
      last === undefined ? ['', ''] : slash < 0 ? [last, ''] : [last.slice(0, slash + 1), last.slice(slash + 1)];
    const rows = await this.#db.query(
      `select u.username || '/' || r.name as name
         from "user" u join repository r on r.namespace_user_id = u.id
        where u.username || '/' >= $1 and (u.username || '/', r.name) > ($1, $2)
          and exists (select from manifest m where m.repository_id = r.id offset 0)
        order by u.username || '/', r.name limit $3`,
      [...after, limit],
      { repeatable: true },
    );
    return rows.flatMap(row => parseRepository(asText(row, 'name')) ?? []);
  }
}
