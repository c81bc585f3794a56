/** Namespaces, and where their blobs must be. */
import type { Database } from './database.js';
import { asTexts } from './row.js';

/** A namespace's own locations. */
export interface NamespaceLocations {
  readonly locations: readonly string[];
  /** Instead of the default ones: its blobs are written, cached and filled there only. Otherwise in addition to them. */
  readonly replace: boolean;
}

export class Namespaces {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Undefined if the namespace has no locations of its own. */
  async locations(namespace: string): Promise<NamespaceLocations | undefined> {
    const [row] = await this.#db.query(
      `select coalesce(n.replaces_defaults, false) as replace,
              array(select l.name from userregion ur join imagestoragelocation l on l.id = ur.location_id
                     where ur.user_id = u.id order by l.name)::text[] as locations
         from "user" u left join namespaceregion n on n.user_id = u.id where u.username = $1`,
      [namespace],
      { repeatable: true },
    );
    if (!row) return undefined;
    const found = { locations: asTexts(row, 'locations'), replace: row.replace === true };
    return found.locations.length > 0 || found.replace ? found : undefined;
  }

  /**
   * Sets them; the workers queue the difference, without fail (nothing is queued if `replicate` is false). The names
   * are those of known locations, at least one if they replace the default ones. Makes the namespace if it is new.
   */
  async setLocations(namespace: string, { locations, replace }: NamespaceLocations, replicate: boolean): Promise<void> {
    await this.#db.query('select set_namespace_locations($1, $2, $3, $4)', [namespace, locations, replace, replicate], {
      repeatable: true,
    });
  }
}
