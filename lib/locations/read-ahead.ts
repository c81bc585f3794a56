/**
 * What the striped reads of a process share: the memory, as a budget and as buffers that are used again, and what they
 * have found out about the way from each location (width.ts).
 *
 * Used again because what comes from the network is copied at once, and dies young. Keeping it as it came, or in new
 * buffers, made V8 collect all of its heap for every 8 MB that passed: more than half of a worker's time (seen over
 * 512 MiB: 7.5 s of CPU with pieces kept as they came, 5.0 s with a new buffer for each stripe, 3.6 s with these).
 */
import { Width } from './width.js';

/** What one call reads, and the size of a buffer. A call costs about as much as its bytes if it reads half of that. */
export const STRIPE_BYTES = 1024 * 1024;

/**
 * With the 8 MiB that each copy has in any case (striped.ts), eight copies make 128 MiB. A worker is one core, which
 * carries no more than 2 Gbit/s: at 200 ms that is 50 MB on the way, and as much again waits for its turn. Three times as
 * much was no faster.
 */
const BUDGET_BYTES = 64 * 1024 * 1024;

/** Buffers that wait to be used again, at the most. */
const SPARE_BUFFERS = 64;

export class ReadAhead {
  #free = BUDGET_BYTES / STRIPE_BYTES;
  #spare: Buffer[] = [];
  #readers = 0;
  readonly #widths = new Map<string, Width>();

  /** Takes one stripe's share of the budget, if one is free. Whoever gets none asks again when it goes on itself. */
  take(): boolean {
    if (this.#free === 0) return false;
    this.#free--;
    return true;
  }

  give(): void {
    this.#free++;
  }

  /** A buffer of STRIPE_BYTES, with anything in it. */
  buffer(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(STRIPE_BYTES);
  }

  /** Gives a buffer back, which nobody reads or writes any more. */
  reuse(buffer: Buffer): void {
    if (this.#readers > 0 && this.#spare.length < SPARE_BUFFERS) this.#spare.push(buffer);
  }

  /** How many stripes are to be on their way from a location. */
  widthOf(location: string): Width {
    const width = this.#widths.get(location) ?? new Width();
    this.#widths.set(location, width);
    return width;
  }

  /** How many reads are under way. */
  get readers(): number {
    return this.#readers;
  }

  /** A read begins; `closed` when it is over. With the last one the spare buffers go. */
  opened(): void {
    this.#readers++;
  }

  closed(): void {
    if (--this.#readers === 0) this.#spare = [];
  }
}
