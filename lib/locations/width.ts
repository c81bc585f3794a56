/**
 * How many stripes of a blob are on their way at a time.
 *
 * Two answers are right. Where nothing is lost but what a router's buffer has no room for, two for each of a few
 * connections fill the link; more of them overflow that buffer, and some stripe is always late. Where packets get lost on
 * the way, each loss stops a connection for a round trip, and only with more connections do enough of them move.
 *
 * Which it is can be seen: a stripe that comes over a connection that lost a packet has a gap of a round trip between two
 * of its pieces. Gaps come from a full buffer as well, but then first bytes also wait long.
 */

/** Two for each connection that is opened at first (lanes.ts): together 16 MiB, and 1 Gbit/s has 10 MB on the way at 80 ms. */
const NARROW = 16;

/** Half of what may be read ahead (striped.ts). The others are complete, and wait for one that is late. */
const WIDE = 28;

/** It is decided upon so many stripes, by the share of those with a gap. */
const STRIPES_SEEN = 48;
const WITH_GAPS = 0.25;

/** Where first bytes wait longer than this on average, beyond the shortest time, there is a queue. */
const QUEUE_MS = 100;

/** What counts as a gap: so much of the shortest time to a first byte, and no less than so many milliseconds. */
const GAP_TIMES = 0.7;
const LEAST_GAP_MS = 40;

/** Then it is looked at anew, from the narrow side: seen from the wide one, a full buffer looks like loss. */
const WIDE_MS = 10_000;

export class Width {
  readonly #now: () => number;
  #wideUntil = Number.NEGATIVE_INFINITY;
  #shortestMs = Number.POSITIVE_INFINITY;
  #seen = 0;
  #withGaps = 0;
  #firstBytesMs = 0;

  /** `now` is a clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** How many there should be now. */
  get stripes(): number {
    return this.#isWide ? WIDE : NARROW;
  }

  get #isWide(): boolean {
    return this.#now() < this.#wideUntil;
  }

  /** A stripe has come: how long its first bytes took, and the longest time between two of its pieces after that. */
  came(firstBytesMs: number, longestGapMs: number): void {
    this.#shortestMs = Math.min(this.#shortestMs, firstBytesMs);
    if (this.#isWide) return;
    this.#seen++;
    this.#firstBytesMs += firstBytesMs;
    if (longestGapMs > Math.max(LEAST_GAP_MS, GAP_TIMES * this.#shortestMs)) this.#withGaps++;
    if (this.#seen < STRIPES_SEEN) return;
    const isQueue = this.#firstBytesMs / this.#seen - this.#shortestMs > QUEUE_MS;
    if (!isQueue && this.#withGaps / this.#seen > WITH_GAPS) this.#wideUntil = this.#now() + WIDE_MS;
    this.#seen = 0;
    this.#firstBytesMs = 0;
    this.#withGaps = 0;
  }
}
