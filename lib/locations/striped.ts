/**
 * Reading one large blob over many connections at once, in order.
 *
 * The blob is asked for in stripes. Many are on their way at a time, each over the connection that will be done with it
 * soonest (lanes.ts), and they are handed out in order: the round trip before a stripe's first byte passes while others
 * come in. Each stripe finds its own way around a location that fails (read.ts).
 *
 * Reading ahead is bounded by what the reader has *kept*: nothing is asked for that lies more than READ_AHEAD_BYTES
 * behind the last checkpoint. So the one bound is both the memory that a blob takes and the bytes that cross twice after
 * a crash, wherever it happens.
 */
import { fail } from '../rpc/errors.js';
import { type ReadRequest, readBlob } from './read.js';
import { type ReadAhead, STRIPE_BYTES } from './read-ahead.js';
import type { Width } from './width.js';

/** The unit of going on after a crash: no more than eight of these cross twice. */
export const SEGMENT_BYTES = 8 * 1024 * 1024;

/** The rest of the eight segments is what a crash may find in other buffers, or asked for twice because it came late. */
const READ_AHEAD_BYTES = 7.5 * SEGMENT_BYTES;

/** What may be kept of the bytes that were handed out without reading less ahead: with the stripe at hand, that rest. */
const BESIDE_BYTES = 8 * SEGMENT_BYTES - READ_AHEAD_BYTES - STRIPE_BYTES;

/** How much one stripe counts in the moving average of how long they take. */
const NEWEST = 0.1;

/** So many stripes need no budget: a copy gets on, at 100 MB/s over 80 ms, whatever the others hold. */
const FREE_STRIPES = 8;

/**
 * A stripe that takes so long, and so many times as long as others do, while so many behind it are complete, is asked for
 * a second time elsewhere: what may be read ahead lasts for half a second at 1 Gbit/s, and then everything would stand still
 * for one slow connection. Where all are slow, because the link is, asking again would only crowd it; so it is done for no
 * more than so many at a time. Nor any earlier: over 1 Gbit/s and 80 ms with 0.1 % loss, where they take 0.2 s, 1.25 times
 * that carried 0.87 of what iperf3 did, and 2.2 times 0.95.
 */
const LATE_MS = 200;
const LATE_TIMES = 2.2;
const LATE_BEHIND = 4;
const MOST_AGAIN = 3;
const LOOK_FOR_LATE_MS = 100;

/**
 * As long as a stripe takes no longer than this, those on a connection come one after another (ReadBlobRequest.in_turn): the
 * one that is waited for is there sooner. Over a slower link, one that waits for its turn would be taken for one that hangs.
 */
const IN_TURN_MS = 1_000;

/** If no checkpoint comes for so long, reading goes on without: the store makes larger steps, or the database is away. */
const UNKEPT_MS = 1_000;

export interface StripedRequest extends Omit<ReadRequest, 'range'> {
  /** The first byte that is wanted; all that follow are. */
  readonly from: number;
  readonly budget: ReadAhead;
  /** How many of the bytes that were handed out are kept now for others: they take from what is read ahead. */
  readonly keptBeside?: () => number;
  /**
   * Whether whoever takes the bytes is done with each piece when it asks for the next one: its memory is then used again,
   * which spares much work (read-ahead.ts).
   */
  readonly transient?: boolean;
}

interface Stripe {
  readonly start: number;
  readonly end: number;
  readonly askedAt: number;
  /** Its bytes, as far as they have come. */
  readonly data: Buffer;
  /** The first byte that was not handed out. */
  given: number;
  /** The first byte that has not come. */
  at: number;
  /** Calls that are reading it. */
  readers: number;
  readonly stop: AbortController;
  readonly budgeted: boolean;
  /** The way on which it counts; undefined once it is over. */
  way: Width | undefined;
  failure: { readonly error: unknown } | undefined;
}

export class StripedRead {
  readonly #request: StripedRequest;
  /** Those that were asked for and not handed out completely, in order. */
  readonly #stripes: Stripe[] = [];
  /** The first byte that has not been asked for. */
  #next: number;
  #kept: number;
  #readBytes = 0;
  /** How long a stripe takes, from the asking to its last byte: a moving average, in milliseconds. */
  #usualMs = 0;
  /** When bytes have come last, of any stripe. */
  #cameAt = 0;
  /** The way from the location that gave the last stripe. */
  #way: Width;
  #closed = false;
  #wake: () => void = () => {};
  readonly #onAbort = () => this.close();

  constructor(request: StripedRequest) {
    this.#request = request;
    this.#next = request.from;
    this.#kept = request.from;
    const [source] = request.locations.forReading(request.holders);
    this.#way = request.budget.widthOf(source?.name ?? '');
    request.budget.opened();
    request.context.signal?.addEventListener('abort', this.#onAbort);
    if (request.context.signal?.aborted) this.close();
  }

  /** How many bytes have come in so far, those that came twice counted twice. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** All bytes before this offset are safe: whoever goes on after a crash begins there at the earliest. */
  kept(offset: number): void {
    this.#kept = Math.max(this.#kept, offset);
    this.#ask();
    this.#wake();
  }

  /** Cancels what is on its way. Safe to call again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#request.budget.closed();
    this.#request.context.signal?.removeEventListener('abort', this.#onAbort);
    for (const stripe of this.#stripes.splice(0)) this.#drop(stripe);
    this.#wake();
  }

  /** The bytes, once, in order. Throws what `readBlob` does, or CANCELLED after `close`. */
  async *bytes(): AsyncGenerator<Buffer> {
    try {
      for (let at = this.#request.from; at < this.#request.size; ) {
        const stripe = await this.#first();
        for (let piece = await this.#pieceOf(stripe); piece; piece = await this.#pieceOf(stripe)) {
          at += piece.length;
          yield piece;
        }
        // None is there if all were dropped in this very moment.
        if (this.#stripes.shift()) this.#drop(stripe);
        if (this.#request.transient) this.#request.budget.reuse(stripe.data);
      }
    } finally {
      this.close();
    }
  }

  /** The stripe that comes next. */
  async #first(): Promise<Stripe> {
    const waitingSince = Date.now();
    while (!this.#closed) {
      this.#ask();
      const [stripe] = this.#stripes;
      if (stripe) return stripe;
      await this.#changed(UNKEPT_MS);
      if (Date.now() - waitingSince >= UNKEPT_MS) this.#kept = Math.max(this.#kept, this.#next);
    }
    throw fail.cancelled();
  }

  /** The next piece of the stripe that is handed out; undefined at its end. */
  async #pieceOf(stripe: Stripe): Promise<Buffer | undefined> {
    while (!this.#closed) {
      if (stripe.given < stripe.at) {
        const piece = stripe.data.subarray(stripe.given - stripe.start, stripe.at - stripe.start);
        stripe.given = stripe.at;
        return piece;
      }
      if (isComplete(stripe)) return undefined;
      if (stripe.failure) throw stripe.failure.error;
      this.#askAgain();
      await this.#changed(LOOK_FOR_LATE_MS);
    }
    throw fail.cancelled();
  }

  /** Asks again for what is late, and first for what comes first. */
  #askAgain(): void {
    // Before any has come, nobody knows what is late: over a slow link, all are.
    if (this.#usualMs === 0) return;
    const lateSince = performance.now() - Math.max(LATE_MS, LATE_TIMES * this.#usualMs);
    const again = this.#stripes.filter(({ readers }) => readers > 1).length;
    const late: Stripe[] = [];
    // Behind the blob's last stripe none can ever be complete. There, as long as anything comes, the rest is in a queue.
    const isAtEnd = this.#next === this.#request.size;
    const standsStill = this.#cameAt < performance.now() - Math.max(LATE_MS, this.#usualMs);
    let behind = isAtEnd && standsStill ? LATE_BEHIND : 0;
    for (const stripe of this.#stripes.toReversed()) {
      if (isComplete(stripe)) behind++;
      else if (stripe.readers === 1 && stripe.askedAt < lateSince && behind >= LATE_BEHIND) late.unshift(stripe);
    }
    for (const stripe of late.slice(0, Math.max(0, MOST_AGAIN - again))) void this.#read(stripe);
  }

  /** Whether no more may be read ahead. */
  #isFull(): boolean {
    const { size, keptBeside = () => 0 } = this.#request;
    const most = READ_AHEAD_BYTES - Math.max(0, keptBeside() - BESIDE_BYTES);
    return Math.min(size, this.#next + STRIPE_BYTES) > this.#kept + most;
  }

  /** Asks for as much as may be on its way. */
  #ask(): void {
    const { size, budget } = this.#request;
    while (!this.#closed && this.#next < size) {
      const end = Math.min(size, this.#next + STRIPE_BYTES);
      if (this.#isFull()) return;
      if (!this.#mayAsk()) return;
      const budgeted = this.#stripes.length >= FREE_STRIPES;
      if (budgeted && !budget.take()) return;
      const stripe: Stripe = {
        start: this.#next,
        end,
        askedAt: performance.now(),
        data: budget.buffer(),
        given: this.#next,
        at: this.#next,
        readers: 0,
        stop: new AbortController(),
        budgeted,
        way: this.#way,
        failure: undefined,
      };
      this.#way.asked();
      this.#stripes.push(stripe);
      this.#next = end;
      void this.#read(stripe);
    }
  }

  /** Reads what is missing of a stripe. Two may do so: each adds what the other has not brought. */
  async #read(stripe: Stripe): Promise<void> {
    stripe.readers++;
    // What is asked for a second time is late already.
    const inTurn = stripe.readers === 1 && this.#usualMs < IN_TURN_MS;
    const asked = performance.now();
    try {
      let at = stripe.at;
      const { location, bytes } = await readBlob({
        ...this.#request,
        range: { offset: at, length: stripe.end - at },
        context: { ...this.#request.context, signal: stripe.stop.signal, striped: true, inTurn },
      });
      const firstBytesMs = performance.now() - asked;
      // From piece to piece only: one in turn may wait a while for its first.
      let cameAt: number | undefined;
      let longestGapMs = 0;
      for await (const piece of bytes) {
        const now = performance.now();
        longestGapMs = Math.max(longestGapMs, now - (cameAt ?? now));
        cameAt = now;
        this.#cameAt = now;
        this.#readBytes += piece.length;
        const known = stripe.at - at;
        at += piece.length;
        // What comes after its end belongs to nobody: by now its memory may be another one's.
        if (at <= stripe.at || isComplete(stripe)) continue;
        piece.copy(stripe.data, stripe.at - stripe.start, known);
        stripe.at = Math.min(at, stripe.end);
        if (isComplete(stripe)) this.#completed(stripe);
        if (stripe === this.#stripes[0]) this.#wake();
      }
      this.#way = this.#request.budget.widthOf(location);
      this.#way.came(firstBytesMs, longestGapMs);
    } catch (error) {
      if (stripe.readers === 1 && !isComplete(stripe)) stripe.failure = { error };
    } finally {
      stripe.readers--;
      this.#wake();
    }
  }

  #completed(stripe: Stripe): void {
    const tookMs = performance.now() - stripe.askedAt;
    this.#usualMs = this.#usualMs === 0 ? tookMs : (1 - NEWEST) * this.#usualMs + NEWEST * tookMs;
    // A call that has brought its last byte ends by itself; to cancel it would cost both sides more than all of its bytes.
    if (stripe.readers > 1) stripe.stop.abort();
    leaveWay(stripe);
    this.#ask();
  }

  /** Whether one more stripe may be on its way. What other reads leave is known once some have come. */
  #mayAsk(): boolean {
    const own = this.#stripes.reduce((count, stripe) => count + (isComplete(stripe) ? 0 : 1), 0);
    return own < this.#way.share(this.#request.budget.readers) || (this.#usualMs > 0 && this.#way.hasRoom);
  }

  #drop(stripe: Stripe): void {
    if (!isComplete(stripe)) stripe.stop.abort();
    leaveWay(stripe);
    if (stripe.budgeted) this.#request.budget.give();
  }

  /** Waits until something has happened, `ms` milliseconds at the most. */
  async #changed(ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function leaveWay(stripe: Stripe): void {
  stripe.way?.over();
  stripe.way = undefined;
}

function isComplete(stripe: Stripe): boolean {
  return stripe.at === stripe.end;
}
