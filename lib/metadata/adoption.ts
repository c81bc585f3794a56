/** Taking over what a location's store holds already, and letting go of it again. */
import type { Digest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import { asDigestValue, asNumber, optional } from './row.js';

/** An object of a store. */
export interface StoredObject {
  readonly digest: Digest;
  readonly size: number;
}

/** What became of one. */
export interface AdoptedObject {
  readonly digest: Digest;
  /** It was not on record there before. */
  readonly adopted: boolean;
  /** What is on record about that digest says another size, this one: the object is left alone. */
  readonly conflict: number | undefined;
}

const RELEASE_BATCH = 500;

export class Adoption {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Records objects that are in the location's store, each as an unverified copy; `dryRun` only says what would be.
   * Answers each of them; nothing if the location is not in use.
   */
  async adopt(location: string, objects: readonly StoredObject[], dryRun: boolean): Promise<AdoptedObject[]> {
    const rows = await this.#db.query('select * from adopt_blobs($1, $2, $3, $4)', [
      location,
      objects.map(({ digest }) => digest),
      objects.map(({ size }) => size),
      dryRun,
    ]);
    return rows.map(row => ({
      digest: asDigestValue(row, 'digest'),
      adopted: row.adopted === true,
      conflict: optional(row, 'conflict', asNumber),
    }));
  }

  /** Lets go of what was adopted there and nobody refers to, a piece at a time. */
  async releaseSome(location: string): Promise<{ released: number; more: boolean }> {
    const [row] = await this.#db.query('select released, more from release_adopted($1, $2)', [location, RELEASE_BATCH]);
    return { released: asSize(row?.released), more: row?.more === true };
  }
}
