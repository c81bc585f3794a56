/** The ids of what operators name. */
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import { asText } from './row.js';

export class Names {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The id of a location; undefined if there is none of that name. */
  location(name: string): Promise<number | undefined> {
    return this.#id('select id from imagestoragelocation where name = $1', name);
  }

  /** The id of a namespace; undefined if there is none of that name. */
  namespace(name: string): Promise<number | undefined> {
    return this.#id('select id from "user" where username = $1', name);
  }

  /** The names of all locations, in order. */
  async locations(): Promise<string[]> {
    const rows = await this.#db.query('select name from imagestoragelocation order by name collate "C"', [], {
      repeatable: true,
    });
    return rows.map(row => asText(row, 'name'));
  }

  async #id(statement: string, name: string): Promise<number | undefined> {
    const [row] = await this.#db.query(statement, [name], { repeatable: true });
    return row && asSize(row.id);
  }
}
