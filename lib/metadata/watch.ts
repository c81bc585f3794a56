/** Whether everything is in sync, exactly: what is still open of the requirements up to a given one. */
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import { asText } from './row.js';

/** What is still to be copied. */
export interface Open {
  /** In the order of names. */
  readonly locations: readonly {
    readonly location: string;
    /** Copies that are waited for. */
    readonly blobs: number;
    /** Of all that is missing there. */
    readonly oldestMissingMs: number;
  }[];
  /** Changes of where blobs must be that are waited for, and whose difference is still to be queued. */
  readonly changes: number;
}

/** Larger than the number of any requirement. */
const ALL = '9223372036854775807';

export class Watch {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The number of the newest requirement: each that exists now has this one or a smaller one. */
  async newest(): Promise<number> {
    const [row] = await this.#db.query('select newest_requirement() as newest', [], { repeatable: true });
    return asSize(row?.newest);
  }

  /** What is open of the requirements up to that number (undefined: of all), in one location (by its id) or in all. */
  async open(upTo: number | undefined, location: number | undefined): Promise<Open> {
    const rows = await this.#db.query(
      'select location, blobs, oldest_ms, changes from open_copies($1, $2)',
      [upTo ?? ALL, location ?? null],
      { repeatable: true },
    );
    return {
      locations: rows.map(row => ({
        location: asText(row, 'location'),
        blobs: asSize(row.blobs),
        oldestMissingMs: asSize(row.oldest_ms),
      })),
      changes: asSize(rows[0]?.changes ?? 0),
    };
  }
}

/** Whether nothing is open. */
export function isInSync({ locations, changes }: Open): boolean {
  return changes === 0 && locations.every(({ blobs }) => blobs === 0);
}
