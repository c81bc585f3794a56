/** Locations as the database knows them: their names, and the identity of the store behind each. */
import type { Logger } from 'pino';
import type { LocationConfig } from '../config/config.js';
import type { Database } from './database.js';
import { asTexts } from './row.js';

export class Places {
  readonly #db: Database;
  /** What was right once stays right while this process lives: also while the database cannot be asked. */
  readonly #confirmed = new Map<string, string>();

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Adds the names that are new. Called when a process starts; names are never removed by themselves. Answers those that
   * were removed by an operator: they are not added again.
   */
  async register(names: readonly string[]): Promise<string[]> {
    const [row] = await this.#db.query('select register_locations($1) as removed', [names], { repeatable: true });
    return row ? asTexts(row, 'removed') : [];
  }

  /**
   * Says where every blob must be. If that is new, the difference is queued by the workers, without fail; nothing is
   * queued if `replicate` is false. The names are registered already.
   */
  async setDefaults(names: readonly string[], replicate: boolean): Promise<void> {
    await this.#db.query('select set_default_locations($1, $2)', [names, replicate], { repeatable: true });
  }

  /**
   * Whether `marker` is the identity on record for the location; puts it on record if there is none, unless it is another
   * location's.
   */
  identify = async (location: string, marker: string): Promise<boolean> => {
    const known = this.#confirmed.get(location);
    if (known !== undefined) return known === marker;
    const [row] = await this.#db.query('select identify_location($1, $2::uuid) as same', [location, marker], {
      repeatable: true,
    });
    if (row?.same === true) this.#confirmed.set(location, marker);
    return row?.same === true;
  };
}

/**
 * Adds the locations of a process's configuration. Answers those that it may use: one that an operator has removed is left
 * out, and it says so.
 */
export async function registerLocations(
  places: Places,
  { locations }: { readonly locations: readonly LocationConfig[] },
  log: Logger,
): Promise<LocationConfig[]> {
  const removed = await places.register(locations.map(({ name }) => name));
  for (const location of removed) {
    log.warn(
      { location },
      `${location} was removed from the registry, and is not used: take it out of the configuration (a name that was removed cannot be used again)`,
    );
  }
  return locations.filter(({ name }) => !removed.includes(name));
}
