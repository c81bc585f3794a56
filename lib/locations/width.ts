/**
 * How many stripes are on their way from one location at a time, of all blobs that are read there together.
 *
 * Two answers are right. Where nothing is lost but what a router's buffer has no room for, a few more than the link holds
 * fill it; with many more that buffer overflows, and some stripe is always late. Where packets get lost on the way, each loss
 * stops a connection for a round trip, and enough of them move only if most have their next stripe on the way already.
 *
 * Which it is can be seen: a stripe that comes over a connection that lost a packet has a gap of a round trip between two
 * of its pieces. Gaps come from a full buffer as well, but then first bytes also wait long.
 */

/** Together 16 MiB, and 1 Gbit/s has 10 MB on the way at 80 ms. */
const NARROW = 16;

/**
 * Of the 60 MiB that may be read ahead of one blob (striped.ts). The others are complete and wait for one that is late, or
 * are written, and not kept yet. Over 1 Gbit/s and 80 ms with 0.1 % loss, of eight connections two or three had nothing to
 * send at any time with 28.
 */
const WIDE = 36;

/**
 * It is decided upon so many stripes, by the share of those with a gap. Over 1 Gbit/s and 80 ms, a quarter to a third have
 * one with 0.1 % loss; without, hardly any, but up to a seventh while BBR pauses to find out the round trip.
 */
const STRIPES_SEEN = 48;
const WITH_GAPS = 0.2;

/**
 * Before that, so many are passed over: after a pause of so long, connections send all they may at once, and after a wide
 * time more is on its way than has room. Both overflow a buffer for a moment, and look like loss: over 1 Gbit/s and 80 ms,
 * most of the first 24 stripes have a gap, some of the second 24, and hardly any after that.
 */
export const PASSED_OVER = 48;
const PAUSE_MS = 500;

/** Where first bytes wait longer than this on average, beyond the shortest time, there is a queue. */
const QUEUE_MS = 100;

/** What counts as a gap: so much of the shortest time to a first byte, and no less than so many milliseconds. */
const GAP_TIMES = 0.7;
const LEAST_GAP_MS = 40;

/**
 * Then it is looked at anew, from the narrow side: seen from the wide one, a full buffer looks like loss. That costs some
 * time; where it was loss again, it is twice as long until the next look.
 */
const WIDE_MS = 30_000;
const MOST_WIDE_MS = 240_000;

/** What the shortest time to a first byte grows by with each decision: routes change. */
const FORGOTTEN = 1.01;

/** Reads share what is on its way, but each has so many stripes at the least: one alone would wait a round trip each time. */
const LEAST_STRIPES = 2;

export class Width {
  readonly #now: () => number;
  #onTheWay = 0;
  #lastOverAt = Number.NEGATIVE_INFINITY;
  /** How many that come are passed over. */
  #passedOver = 0;
  #wideUntil = Number.NEGATIVE_INFINITY;
  #wideMs = WIDE_MS;
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

  /** How many a read may have on their way in any case, of so many reads. */
  share(reads: number): number {
    return Math.max(LEAST_STRIPES, Math.floor(this.stripes / reads));
  }

  /** Whether others leave some of theirs: their targets are slow, or their blobs end. */
  get hasRoom(): boolean {
    return this.#onTheWay < this.stripes;
  }

  /** A stripe is asked for; `over` when it has come, or nobody waits for it any more. */
  asked(): void {
    if (this.#onTheWay === 0) this.#afterPause(this.#now() - this.#lastOverAt);
    this.#onTheWay++;
  }

  over(): void {
    this.#onTheWay--;
    this.#lastOverAt = this.#now();
  }

  get #isWide(): boolean {
    return this.#now() < this.#wideUntil;
  }

  /** A stripe has come: how long its first bytes took, and the longest time between two of its pieces after that. */
  came(firstBytesMs: number, longestGapMs: number): void {
    this.#shortestMs = Math.min(this.#shortestMs, firstBytesMs);
    if (this.#isWide) {
      this.#lookAnew();
      return;
    }
    if (this.#passedOver > 0) {
      this.#passedOver--;
      return;
    }
    this.#seen++;
    this.#firstBytesMs += firstBytesMs;
    if (longestGapMs > Math.max(LEAST_GAP_MS, GAP_TIMES * this.#shortestMs)) this.#withGaps++;
    if (this.#seen < STRIPES_SEEN) return;
    const isQueue = this.#firstBytesMs / this.#seen - this.#shortestMs > QUEUE_MS;
    if (!isQueue && this.#withGaps / this.#seen > WITH_GAPS) {
      this.#wideUntil = this.#now() + this.#wideMs;
      this.#wideMs = Math.min(MOST_WIDE_MS, 2 * this.#wideMs);
    } else {
      this.#wideMs = WIDE_MS;
    }
    this.#shortestMs *= FORGOTTEN;
    this.#forget();
  }

  /** A pause of minutes says nothing of the way: what was left of the wide time before it is left after it. */
  #afterPause(ms: number): void {
    if (ms <= PAUSE_MS) return;
    this.#lookAnew();
    if (ms < MOST_WIDE_MS && this.#wideUntil > this.#lastOverAt) this.#wideUntil += ms;
  }

  #lookAnew(): void {
    this.#passedOver = PASSED_OVER;
    this.#forget();
  }

  #forget(): void {
    this.#seen = 0;
    this.#firstBytesMs = 0;
    this.#withGaps = 0;
  }
}
