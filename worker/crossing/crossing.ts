/**
 * One blob on its way to this region: the copy publishes its bytes in order, followers read them on the way.
 *
 * Only the last bytes are kept (ring.ts), and those only while somebody could use them: the first ones for who may still
 * come, the later ones for who follows. The copy never waits for a follower. One who needs bytes that are gone waits until
 * the blob is stored, unless that would take longer than its patience, as far as the rate so far can tell.
 *
 * A crossing that a follower began has an opening as well: the blob's first bytes, read before it is known whether this
 * worker may copy it, since the database can be far away. The copy, if it begins at the beginning, takes them from here.
 */
import { FRAME_BYTES } from '../../lib/rpc/channel.js';
import { RING_BYTES, Ring, type RingMemory } from './ring.js';
import { Traffic } from './traffic.js';

/** How a crossing ended. */
export type Outcome =
  /** The target has the blob, verified. */
  | { readonly kind: 'stored' }
  | { readonly kind: 'failed' }
  /** The target need not have it. */
  | { readonly kind: 'not-required' }
  /** Another worker makes the copy, undefined if it is not known which. */
  | { readonly kind: 'elsewhere'; readonly worker: string | undefined };

/** What a follower hears. Its part is complete when nothing more comes. */
export type News =
  | { readonly kind: 'data'; readonly data: Buffer }
  | { readonly kind: 'waiting' }
  | Outcome
  /** Waiting would outlast the follower's patience. */
  | { readonly kind: 'behind' };

/** The part of the blob that a follower wants, and for how many milliseconds at a time it would rather wait. */
export interface Wanted {
  readonly offset: number;
  readonly limit: number;
  readonly patienceMs: number;
}

/** The opening's length, in bytes: what may cross in vain if another worker turns out to make the copy. */
const OPENING_BYTES = 1024 * 1024;

/** Before that, a copy's rate means nothing. */
const RATE_KNOWN_MS = 250;

/**
 * A follower that has all bytes that there are waits no longer than this for the next: the sources may be in trouble, as
 * seen from here. One goes first. The others follow only if it still goes on when their patience is over: if all is slow
 * because it is crowded, fifty that leave at once, and read as much from afar each, would make it worse.
 *
 * Nor does anybody leave before that while others get bytes (traffic.ts).
 */
const STALL_MS = 4_000;

/** One that goes to read a piece from afar, or whose gateway asks anew, is back within this time. */
const BACK_MS = 5_000;

/** A follower that waits says so this often; crossings.ts wakes it for that. */
export const TICK_MS = 500;

interface Opening {
  readonly pieces: Buffer[];
  end: number;
  /** Where it will end. */
  goal: number;
}

interface Waiter {
  /** Whether new bytes are of interest; the end always is. */
  readonly forBytes: boolean;
  wake(): void;
}

export class Crossing {
  /** The blob's size in bytes. */
  readonly size: number;
  readonly #traffic: Traffic;
  /** The blob's first bytes, as far as they are kept for good. */
  #opening: Opening = { pieces: [], end: 0, goal: 0 };
  readonly #ring: Ring;
  readonly #waiters = new Set<Waiter>();
  #began: { readonly at: number; readonly offset: number } | undefined;
  #adopted = false;
  #followers = 0;
  #followedAt = Number.NEGATIVE_INFINITY;
  /** When the last bytes came, or the crossing was made. */
  #cameAt = performance.now();
  /** Somebody has left since then, because no more came. */
  #hasBeenLeft = false;
  #outcome: Outcome | undefined;

  /** `traffic`: that of the process. */
  constructor(size: number, memory: RingMemory, traffic = new Traffic()) {
    this.size = size;
    this.#traffic = traffic;
    this.#ring = new Ring(memory);
  }

  /** Whether a copy publishes here. */
  get isAdopted(): boolean {
    return this.#adopted;
  }

  /** Whether somebody reads here. */
  get isFollowed(): boolean {
    return this.#followers > 0;
  }

  /** How many bytes are kept here in memory. */
  get keptBytes(): number {
    return this.#opening.end + this.#ring.keptBytes;
  }

  /** A copy will publish here. False if one does already, or it is over. */
  adopt(): boolean {
    if (this.#adopted || this.#outcome) return false;
    this.#adopted = true;
    return true;
  }

  /** Reads the opening. Never throws: what is missing is read by the copy. */
  async open(read: (length: number) => Promise<AsyncIterable<Buffer>>): Promise<void> {
    const opening = this.#opening;
    opening.goal = Math.min(this.size, OPENING_BYTES);
    try {
      for await (const piece of await read(opening.goal)) {
        opening.pieces.push(piece);
        opening.end += piece.length;
        this.#came();
      }
    } catch {
      // The copy meets the same failure and reports it.
    } finally {
      opening.goal = opening.end;
      this.#wake(true);
    }
  }

  /**
   * The copy's bytes from `offset` on, published on the way. `open` opens the source; a piece of it need only last until
   * the next one is asked for.
   */
  async *through(
    offset: number,
    open: (offset: number) => Promise<AsyncIterable<Buffer>>,
  ): AsyncGenerator<Buffer, void, undefined> {
    this.#ring.restart(offset);
    this.#began = { at: performance.now(), offset };
    let at = offset;
    while (at < this.#opening.goal) {
      const piece = pieceAt(this.#opening, at);
      if (piece) {
        at += piece.length;
        this.#ring.restart(at);
        yield piece;
      } else {
        await this.#change(true);
      }
    }
    if (at === this.size) return;
    for await (const piece of await open(at)) {
      if (this.#isUseful()) this.#ring.push(piece);
      else this.#ring.restart(this.#ring.end + piece.length);
      this.#came();
      yield piece;
    }
  }

  /** Publishes all of the blob at once. */
  publishWhole(bytes: Buffer): void {
    this.#opening = { pieces: [bytes], end: bytes.length, goal: bytes.length };
    this.#wake(true);
  }

  /** It is over; only the first call counts, and answers true. */
  settle(outcome: Outcome): boolean {
    if (this.#outcome) return false;
    this.#outcome = outcome;
    this.#ring.restart(this.#ring.end);
    this.#wake(false);
    return true;
  }

  /** Lets everybody who waits say so; to be called every TICK_MS. */
  tick(): void {
    this.#wake(false);
  }

  /** The bytes that are wanted, until they are complete or cannot be had here; the last of the news says why. */
  async *follow(wanted: Wanted, signal: AbortSignal): AsyncGenerator<News, void, undefined> {
    this.#followers++;
    try {
      yield* this.#news(wanted, signal);
    } finally {
      this.#followers--;
      this.#followedAt = performance.now();
    }
  }

  /** Whether somebody may want the bytes that come now. */
  #isUseful(): boolean {
    if (this.#outcome) return false;
    const isBeginning = this.#ring.end < RING_BYTES;
    return isBeginning || this.#followers > 0 || performance.now() - this.#followedAt < BACK_MS;
  }

  async *#news({ offset, limit, patienceMs }: Wanted, signal: AbortSignal): AsyncGenerator<News, void, undefined> {
    const end = offset + limit;
    let at = offset;
    let waitingSince: number | undefined;
    let toldAt = performance.now();
    while (at < end && !signal.aborted) {
      const piece = pieceAt(this.#opening, at) ?? this.#ring.from(at);
      if (piece) {
        waitingSince = undefined;
        const data = piece.subarray(0, Math.min(FRAME_BYTES, end - at));
        at += data.length;
        yield { kind: 'data', data };
        continue;
      }
      if (this.#outcome) return yield this.#outcome;
      const now = performance.now();
      waitingSince ??= now;
      const hasAll = at === this.#ring.end;
      const bearsMs = hasAll && this.#mayLeave(patienceMs) ? Math.min(patienceMs, STALL_MS) : patienceMs;
      if (now - waitingSince + this.#expectedMs(at) > bearsMs) {
        this.#hasBeenLeft ||= hasAll;
        return yield { kind: 'behind' };
      }
      if (now - Math.max(waitingSince, toldAt) > TICK_MS / 2) {
        toldAt = now;
        yield { kind: 'waiting' };
      }
      await this.#change(at >= this.#ring.start, signal);
    }
  }

  /** Whether who has all that there is need not bear all of its patience. */
  #mayLeave(patienceMs: number): boolean {
    if (this.#traffic.isFlowing) return false;
    return !this.#hasBeenLeft || performance.now() - this.#cameAt > patienceMs;
  }

  /** Bytes have come. */
  #came(): void {
    this.#traffic.came();
    this.#cameAt = performance.now();
    this.#hasBeenLeft = false;
    this.#wake(true);
  }

  /** How long until the byte at `at` can be had, if the copy goes on as it went so far. */
  #expectedMs(at: number): number {
    const { start, end } = this.#ring;
    if (!this.#began) return 0;
    const elapsed = performance.now() - this.#began.at;
    const copied = end - this.#began.offset;
    if (elapsed < RATE_KNOWN_MS || copied === 0) return 0;
    const goal = at < start ? this.size : Math.max(at, end);
    return ((goal - end) / copied) * elapsed;
  }

  #wake(onlyForBytes: boolean): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.forBytes || !onlyForBytes) waiter.wake();
    }
  }

  /** Resolves when there may be something new; also at every tick. */
  #change(forBytes: boolean, signal?: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const wake = () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const waiter = { forBytes, wake };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', wake);
    });
  }
}

/** Some bytes of an opening from `offset` on; undefined if it does not have them, or not yet. */
function pieceAt({ pieces }: Opening, offset: number): Buffer | undefined {
  let start = 0;
  for (const piece of pieces) {
    if (offset < start + piece.length) return piece.subarray(offset - start);
    start += piece.length;
  }
  return undefined;
}
