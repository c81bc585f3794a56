/**
 * Looks for copies that wait for a source that is away or has no slot free, though another one could give them too, and
 * has them filed there. A piece at a time, and only while slots are idle: the table may hold a million rows.
 */
import type { Queue, Replication } from '../../lib/metadata/replication.js';

/** Rows looked at in one statement. */
const AT_ONCE = 5_000;
/** Between two pieces, and from the end of the table to the next beginning. */
const NEXT_PIECE_MS = 250;
const NEXT_TIME_MS = 5_000;

export class Refiler {
  readonly #replication: Replication;
  #after = '0';
  #nextAt = 0;
  #known = '';

  constructor(replication: Replication) {
    this.#replication = replication;
  }

  /** In how many milliseconds there is something to do. */
  get waitMs(): number {
    return Math.max(0, this.#nextAt - performance.now());
  }

  /** Does the next piece, if it is time; the queues are those that have slots free. Whether it moved anything to them. */
  async step(queues: readonly Queue[]): Promise<boolean> {
    const known = queues.map(({ target, source, large }) => `${source} ${target} ${large}`).join();
    // What could not come from anywhere else may be able to now.
    if (known !== this.#known && this.#after === '0') this.#nextAt = 0;
    this.#known = known;
    if (this.waitMs > 0) return false;
    const { last, moved } = await this.#replication.refile(queues, this.#after, AT_ONCE);
    this.#after = last ?? '0';
    this.#nextAt = performance.now() + (last === undefined ? NEXT_TIME_MS : NEXT_PIECE_MS);
    return moved > 0;
  }
}
