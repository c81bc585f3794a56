/**
 * Whether any crossing of a process gets bytes.
 *
 * One that gets none while others do is in a crowd, and not in trouble: its followers need not go and look for the bytes
 * themselves, since from afar they would not come any sooner.
 */

/** For how long after some bytes more are to be expected. */
const CROWD_MS = 1_000;

export class Traffic {
  #cameAt = Number.NEGATIVE_INFINITY;

  /** Bytes have come to one of the crossings. */
  came(): void {
    this.#cameAt = performance.now();
  }

  /** Whether some came a moment ago. */
  get isFlowing(): boolean {
    return performance.now() - this.#cameAt < CROWD_MS;
  }
}
