/** The crossings of this process, by blob and target: whoever copies a blob and whoever reads it meet here. */
import { LRUCache } from 'lru-cache';
import type { Digest } from '../../lib/oci/digest.js';
import { Crossing, type Outcome, TICK_MS } from './crossing.js';
import { RingMemory } from './ring.js';
import { Traffic } from './traffic.js';

/** A blob, and where it is to come to. */
export interface Way {
  readonly digest: Digest;
  readonly target: string;
}

/**
 * For how many milliseconds it is known how a crossing ended. Gateways look for a blob where it was a moment ago; and what
 * turned out not to be this worker's to copy, or failed, is not begun again for each reader that comes.
 */
const KNOWN_MS = { stored: 60_000, failed: 3_000, elsewhere: 3_000, 'not-required': 3_000 };
const KNOWN_ENDS = 10_000;

export class Crossings {
  readonly #live = new Map<string, Crossing>();
  readonly #ended = new LRUCache<string, Outcome>({ max: KNOWN_ENDS });
  readonly #memory = new RingMemory();
  readonly #traffic = new Traffic();
  readonly #ticking = setInterval(() => {
    for (const crossing of this.#live.values()) crossing.tick();
  }, TICK_MS);

  /** The blob's crossing that is under way, if there is one. */
  find(way: Way): Crossing | undefined {
    return this.#live.get(keyOf(way));
  }

  /** How the blob's last crossing ended, if that was a moment ago. */
  ended(way: Way): Outcome | undefined {
    return this.#ended.get(keyOf(way));
  }

  /** A crossing that nobody copies yet. There must be none under way. */
  expect(way: Way, size: number): Crossing {
    const crossing = new Crossing(size, this.#memory, this.#traffic);
    this.#live.set(keyOf(way), crossing);
    return crossing;
  }

  /** The crossing for a copy that begins now: the one that is expected, or a new one. */
  begin(job: Way & { readonly size: number }): Crossing {
    const expected = this.find(job);
    if (expected?.adopt()) return expected;
    const crossing = this.expect(job, job.size);
    crossing.adopt();
    return crossing;
  }

  /** The crossing is over; only the first call counts. */
  settle(way: Way, crossing: Crossing, outcome: Outcome): void {
    if (!crossing.settle(outcome)) return;
    const key = keyOf(way);
    if (this.#live.get(key) === crossing) this.#live.delete(key);
    this.#ended.set(key, outcome, { ttl: KNOWN_MS[outcome.kind] });
  }

  close(): void {
    clearInterval(this.#ticking);
  }
}

function keyOf({ digest, target }: Way): string {
  return `${digest} ${target}`;
}
