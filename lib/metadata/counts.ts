/** The counts of what is in each location, and missing there: rows whose sum is exact (functions/12_counts.sql). */
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';

/** Rows that are folded in one transaction. */
const BATCH = 10_000;
/** Fewer are not worth it. */
const FEW = 100;

export class Counts {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Folds some of them, if there are many. Answers whether there may be more to fold. */
  async fold(): Promise<boolean> {
    const [row] = await this.#db.query(
      `select fold_counts($1) as folded where (select count(*) from (select from locationcount limit $2) looked) >= $2`,
      [BATCH, FEW],
    );
    return asSize(row?.folded ?? 0) >= BATCH;
  }
}
