/** Namespaces, and where their blobs must be. */
import type { RepositoryName } from '../oci/name.js';
import type { Database } from './database.js';
import { asText, asTexts, optional } from './row.js';
import { type MetadataSettings, namePair } from './settings.js';

/** A namespace's own locations. */
export interface NamespaceLocations {
  readonly locations: readonly string[];
  /** Instead of the default ones: its blobs are written, cached and filled there only. Otherwise in addition to them. */
  readonly replace: boolean;
}

/** The only locations that a namespace's bytes may be written to; undefined: any. */
export type AllowedLocations = readonly string[] | undefined;

export class Namespaces {
  readonly #db: Database;
  readonly #settings: MetadataSettings;

  constructor(db: Database, settings: MetadataSettings) {
    this.#db = db;
    this.#settings = settings;
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

  /** All namespaces that have locations of their own, by name; or the one that is given, if it has some. */
  async listed(only?: string): Promise<readonly (NamespaceLocations & { readonly namespace: string })[]> {
    const rows = await this.#db.query(
      `select u.username as namespace, coalesce(bool_or(n.replaces_defaults), false) as replace,
              array_agg(l.name order by l.name)::text[] as locations
         from userregion ur join "user" u on u.id = ur.user_id
         join imagestoragelocation l on l.id = ur.location_id
         left join namespaceregion n on n.user_id = u.id
        where $1::text is null or u.username = $1
        group by u.username order by u.username`,
      [only ?? null],
      { repeatable: true },
    );
    return rows.map(row => ({
      namespace: asText(row, 'namespace'),
      locations: asTexts(row, 'locations'),
      replace: row.replace === true,
    }));
  }

  /** Where the bytes of a repository may be written. */
  async allowedFor(repository: RepositoryName): Promise<AllowedLocations> {
    const [namespace] = namePair(this.#settings, repository);
    const [row] = await this.#db.query('select only_locations($1) as allowed', [namespace], { repeatable: true });
    return row && optional(row, 'allowed', asTexts);
  }

  /**
   * Sets a namespace's locations; the workers queue the difference, without fail (nothing is queued if replication is
   * switched off). Makes the namespace if it is new. Answers the names that are no locations: if there are any, nothing
   * was changed. Throws a RangeError for none that replace the default ones.
   */
  async setLocations(namespace: string, { locations, replace }: NamespaceLocations): Promise<readonly string[]> {
    if (replace && locations.length === 0) {
      throw new RangeError('a namespace that replaces the default locations needs one at least');
    }
    const [row] = await this.#db.query(
      'select set_namespace_locations($1, $2, $3, $4) as unknown',
      [namespace, locations, replace, this.#settings.replicate],
      { repeatable: true },
    );
    return row ? asTexts(row, 'unknown') : [];
  }
}
