/**
 * Reading one large blob over many connections at once, in order.
 *
 * The blob is asked for in stripes. Many are on their way at a time, each over the connection that is least used, and
 * they are handed out in order: the round trip before a stripe's first byte passes while others come in. Each stripe
 * finds its own way around a location that fails (read.ts).
 *
 * Reading ahead is bounded by what the reader has *kept*: nothing is asked for that lies more than READ_AHEAD_BYTES
 * behind the last checkpoint on record. So the one bound is both the memory that a blob takes and the bytes that cross
 * twice after a crash, wherever it happens.
 */
import { fail } from '../rpc/errors.js';
import { type ReadRequest, readBlob } from './read.js';
import { type ReadAhead, STRIPE_BYTES } from './read-ahead.js';

/** The unit of going on after a crash: no more than eight of these cross twice. */
export const SEGMENT_BYTES = 8 * 1024 * 1024;

/** Seven segments. The eighth is what a crash may find in other buffers, or asked for twice because it came late. */
const READ_AHEAD_BYTES = 7 * SEGMENT_BYTES;

/**
 * Stripes that are not complete: more than there are connections (lanes.ts), so that the round trip between the end of one
 * and the beginning of the next passes while another comes in. Together 24 MiB: 1 Gbit/s has 10 MB on the way at 80 ms.
 * This is the most; how many it is depends on what the link carries.
 */
const STRIPES_IN_FLIGHT = 24;

/** As many at first; near sources need no more, since there one connection is as fast as the machine. */
const STRIPES_AT_FIRST = 4;

/**
 * As much is asked for as comes in while a request goes there and back twice, and a bit: that grows threefold a round trip
 * until the link, the source or the reader is full. More would only queue up somewhere on the way, and the stripe that
 * comes next would wait for those behind it.
 */
const SPARE_MS = 100;

/**
 * How fast they come in is looked at so often, over the last two such times, and the best of the last two seconds counts.
 * Bytes come in bursts, and after each time that too little was asked for there is a lull: who takes a lull for what the
 * link carries asks for too little again.
 */
const RATE_EVERY_MS = 100;
const RATES_KEPT = 20;

/** So many stripes need no budget: a copy gets on, at 100 MB/s over 80 ms, whatever the others hold. */
const FREE_STRIPES = 8;

/**
 * A stripe that takes so long, and so many times as long as others do, while so many behind it are complete, is asked for
 * a second time elsewhere: what may be read ahead lasts for 400 ms at 1 Gbit/s, and then everything would stand still for
 * one slow connection. Where all are slow, because the link is, asking again would only crowd it.
 */
const LATE_MS = 250;
const LATE_TIMES = 3;
const LATE_BEHIND = 4;

/** Once no more may be read ahead, everything stands still for the stripe that comes next: it is asked for again sooner. */
const LATE_TIMES_FULL = 1.5;

/** If no checkpoint comes for so long, reading goes on without: the store makes larger steps, or the database is away. */
const UNKEPT_MS = 1_000;

export interface StripedRequest extends Omit<ReadRequest, 'range'> {
  /** The first byte that is wanted; all that follow are. */
  readonly from: number;
  readonly budget: ReadAhead;
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
  #inFlight = STRIPES_AT_FIRST;
  /** The shortest time that a stripe's first byte took, in milliseconds. */
  #roundTripMs = Number.POSITIVE_INFINITY;
  #rateSince = performance.now();
  #rateBytes = 0;
  /** What came in at the last look, and in how many milliseconds. */
  #lastLook = { bytes: 0, ms: 0 };
  /** In bytes per millisecond, the newest last. */
  readonly #rates: number[] = [];
  #closed = false;
  #wake: () => void = () => {};
  readonly #onAbort = () => this.close();

  constructor(request: StripedRequest) {
    this.#request = request;
    this.#next = request.from;
    this.#kept = request.from;
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
        this.#stripes.shift();
        this.#drop(stripe);
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
    let askedAgain = false;
    while (!this.#closed) {
      if (stripe.given < stripe.at) {
        const piece = stripe.data.subarray(stripe.given - stripe.start, stripe.at - stripe.start);
        stripe.given = stripe.at;
        return piece;
      }
      if (isComplete(stripe)) return undefined;
      if (stripe.failure) throw stripe.failure.error;
      await this.#changed(LATE_MS);
      if (!askedAgain && this.#isLate(stripe)) {
        askedAgain = true;
        void this.#read(stripe);
      }
    }
    throw fail.cancelled();
  }

  #isLate(stripe: Stripe): boolean {
    if (isComplete(stripe) || this.#stripes.filter(isComplete).length < LATE_BEHIND) return false;
    const times = this.#isFull() ? LATE_TIMES_FULL : LATE_TIMES;
    return performance.now() - stripe.askedAt >= Math.max(LATE_MS, times * this.#usualMs);
  }

  /** Whether no more may be read ahead. */
  #isFull(): boolean {
    return Math.min(this.#request.size, this.#next + STRIPE_BYTES) > this.#kept + READ_AHEAD_BYTES;
  }

  /** Asks for as much as may be on its way. */
  #ask(): void {
    const { size, budget } = this.#request;
    while (!this.#closed && this.#next < size) {
      const end = Math.min(size, this.#next + STRIPE_BYTES);
      if (this.#isFull()) return;
      if (this.#stripes.reduce((count, each) => count + (isComplete(each) ? 0 : 1), 0) >= this.#inFlight) return;
      const budgeted = this.#stripes.length >= FREE_STRIPES;
      if (budgeted && !budget.take()) return;
      const stripe = {
        start: this.#next,
        end,
        askedAt: performance.now(),
        data: budget.buffer(),
        given: this.#next,
        at: this.#next,
        readers: 0,
        stop: new AbortController(),
        budgeted,
        failure: undefined,
      };
      this.#stripes.push(stripe);
      this.#next = end;
      void this.#read(stripe);
    }
  }

  /** Reads what is missing of a stripe. Two may do so: each adds what the other has not brought. */
  async #read(stripe: Stripe): Promise<void> {
    stripe.readers++;
    const asked = performance.now();
    try {
      let at = stripe.at;
      const { bytes } = await readBlob({
        ...this.#request,
        range: { offset: at, length: stripe.end - at },
        context: { ...this.#request.context, signal: stripe.stop.signal, striped: true },
      });
      this.#roundTripMs = Math.min(this.#roundTripMs, performance.now() - asked);
      for await (const piece of bytes) {
        this.#readBytes += piece.length;
        this.#gauge(piece.length);
        const known = stripe.at - at;
        at += piece.length;
        // What comes after its end belongs to nobody: by now its memory may be another one's.
        if (at <= stripe.at || isComplete(stripe)) continue;
        piece.copy(stripe.data, stripe.at - stripe.start, known);
        stripe.at = Math.min(at, stripe.end);
        if (isComplete(stripe)) this.#completed(stripe);
        if (stripe === this.#stripes[0]) this.#wake();
      }
    } catch (error) {
      if (stripe.readers === 1 && !isComplete(stripe)) stripe.failure = { error };
    } finally {
      stripe.readers--;
      this.#wake();
    }
  }

  #completed(stripe: Stripe): void {
    const tookMs = performance.now() - stripe.askedAt;
    this.#usualMs = this.#usualMs === 0 ? tookMs : 0.9 * this.#usualMs + 0.1 * tookMs;
    // A call that has brought its last byte ends by itself; to cancel it would cost both sides more than all of its bytes.
    if (stripe.readers > 1) stripe.stop.abort();
    this.#ask();
  }

  /** Bytes have come in: now and then, how many stripes should be on their way is told from how fast they do. */
  #gauge(bytes: number): void {
    this.#rateBytes += bytes;
    const elapsed = performance.now() - this.#rateSince;
    if (elapsed < RATE_EVERY_MS) return;
    const { bytes: before, ms } = this.#lastLook;
    this.#lastLook = { bytes: this.#rateBytes, ms: elapsed };
    if (this.#rates.push((before + this.#rateBytes) / (ms + elapsed)) > RATES_KEPT) this.#rates.shift();
    const wanted = Math.max(...this.#rates) * (2 * this.#roundTripMs + SPARE_MS);
    this.#inFlight = Math.max(STRIPES_AT_FIRST, Math.min(STRIPES_IN_FLIGHT, Math.ceil(wanted / STRIPE_BYTES)));
    this.#rateSince += elapsed;
    this.#rateBytes = 0;
    this.#ask();
  }

  #drop(stripe: Stripe): void {
    if (!isComplete(stripe)) stripe.stop.abort();
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

function isComplete(stripe: Stripe): boolean {
  return stripe.at === stripe.end;
}
