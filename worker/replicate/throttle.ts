/**
 * Holds copying to a location to so many bytes a second: a token bucket.
 *
 * Bytes are taken before they are written, in the order of asking. What is taken may be more than there is: then the
 * bucket is in debt, and the next one waits until that is paid off. So any size of piece gets through, however low the
 * limit. The waiting stands between two reads of the source, where no clock of the reading side runs.
 *
 * What somebody waits for is not held up, since it would cross the same link all the same; it puts the bucket in debt, and
 * the others wait.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fail } from '../../lib/rpc/errors.js';

/** What may be saved up while nothing is copied, in seconds of the limit. */
const BURST_SECONDS = 0.25;

/** What bytes that are not held up may put the bucket in debt, in seconds of the limit: the others must get on. */
const MOST_DEBT_SECONDS = 10;

/** While waiting, the limit is looked at so often: it may have been changed. */
const LOOK_AGAIN_MS = 250;

export class Throttle {
  #bytesPerSecond: number | undefined;
  /** Bytes that may be taken now; below zero: a debt. */
  #level = 0;
  #filledAt = performance.now();
  #lastTurn: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** Bytes per second; undefined is no limit. */
  get limit(): number | undefined {
    return this.#bytesPerSecond;
  }

  /** In force at once, also for those who wait. */
  set limit(bytesPerSecond: number | undefined) {
    if (bytesPerSecond === this.#bytesPerSecond) return;
    this.#fill();
    this.#bytesPerSecond = bytesPerSecond;
    // What was saved up, or owed, under the old limit counts no more than the new one allows in its burst.
    const most = (bytesPerSecond ?? 0) * BURST_SECONDS;
    this.#level = Math.max(-most, Math.min(most, this.#level));
  }

  /** Resolves when so many bytes may be written. Throws CANCELLED when the signal aborts. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw fail.cancelled();
    if (this.#bytesPerSecond === undefined && this.#waiting === 0) return;
    this.#waiting++;
    const before = this.#lastTurn;
    let endTurn = () => {};
    this.#lastTurn = new Promise(resolve => {
      endTurn = resolve;
    });
    try {
      await untilOver(before, signal);
      while (!this.#canTake()) await sleep(this.#waitMs(), undefined, { signal });
      this.#level -= bytes;
    } catch {
      throw fail.cancelled();
    } finally {
      this.#waiting--;
      // Whoever gives up in the middle of the queue does not let the next one pass those before it.
      void before.then(endTurn);
    }
  }

  /** Takes bytes without waiting for them. */
  charge(bytes: number): void {
    if (this.#bytesPerSecond === undefined) return;
    this.#fill();
    const most = -MOST_DEBT_SECONDS * this.#bytesPerSecond;
    this.#level = Math.max(Math.min(this.#level, most), this.#level - bytes);
  }

  /**
   * The same bytes, each piece taken before it is handed out, without waiting while they are urgent. A consumer that stops
   * early ends the wait too.
   */
  meter(
    source: AsyncIterable<Buffer>,
    signal: AbortSignal,
    isUrgent: () => boolean = () => false,
  ): AsyncIterable<Buffer> {
    return {
      [Symbol.asyncIterator]: () => {
        const iterator = source[Symbol.asyncIterator]();
        const over = new AbortController();
        const either = AbortSignal.any([signal, over.signal]);
        const end = async (): Promise<IteratorResult<Buffer>> => {
          over.abort();
          await iterator.return?.();
          return { done: true, value: undefined };
        };
        const next = async () => {
          const piece = await iterator.next();
          if (piece.done) return piece;
          if (isUrgent()) this.charge(piece.value.length);
          else await this.take(piece.value.length, either);
          return piece;
        };
        return { next, return: end };
      },
    };
  }

  #canTake(): boolean {
    this.#fill();
    return this.#bytesPerSecond === undefined || this.#level >= 0;
  }

  #waitMs(): number {
    const needed = (-this.#level / (this.#bytesPerSecond ?? 1)) * 1_000;
    return Math.max(1, Math.min(LOOK_AGAIN_MS, needed));
  }

  #fill(): void {
    const now = performance.now();
    const gained = ((now - this.#filledAt) / 1_000) * (this.#bytesPerSecond ?? 0);
    this.#level = Math.min((this.#bytesPerSecond ?? 0) * BURST_SECONDS, this.#level + gained);
    this.#filledAt = now;
  }
}

/** Resolves with the promise; rejects when the signal aborts. */
function untilOver(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    void promise.then(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
  });
}
