/** The memory that all striped reads of a process may take together, beyond the little that each has in any case. */

/**
 * With what eight copies have in any case (64 MiB) this makes 256 MiB: it fills 10 Gbit/s at 100 ms (125 MB on the way)
 * and as much again that waits for its turn.
 */
const BUDGET_BYTES = 192 * 1024 * 1024;

export class ReadAheadBudget {
  #free = BUDGET_BYTES;

  /** Takes so much, if it is free. Whoever gets nothing asks again when it has given something back itself. */
  take(bytes: number): boolean {
    if (bytes > this.#free) return false;
    this.#free -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#free += bytes;
  }
}
