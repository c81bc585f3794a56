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
 * Stripes that are not complete, over as many connections. Five fill 1 Gbit/s at 80 ms as long as nothing is lost, each
 * held to 244 Mbit/s by its sender's buffer; where one packet of a thousand is lost, 8 reach 600 and 16 reach 689 Mbit/s.
 */
const STRIPES_IN_FLIGHT = 16;

/**
 * As many at first, and for as long as the source is near: there one connection is as fast as the machine, and more of
 * them only cost work. It is far if a stripe's first byte took longer than this.
 */
const STRIPES_IN_FLIGHT_NEAR = 2;
const FAR_MS = 25;

/** So many stripes need no budget: a copy gets on, at 100 MB/s over 80 ms, whatever the others hold. */
const FREE_STRIPES = 4;

/** A stripe that is waited for so long, while so many behind it are complete, is asked for a second time elsewhere. */
const LATE_MS = 500;
const LATE_BEHIND = 4;

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
  #inFlight = STRIPES_IN_FLIGHT_NEAR;
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
    const waitingSince = Date.now();
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
      if (!askedAgain && Date.now() - waitingSince >= LATE_MS && this.#isOvertaken(stripe)) {
        askedAgain = true;
        void this.#read(stripe);
      }
    }
    throw fail.cancelled();
  }

  #isOvertaken(stripe: Stripe): boolean {
    return !isComplete(stripe) && this.#stripes.filter(isComplete).length >= LATE_BEHIND;
  }

  /** Asks for as much as may be on its way. */
  #ask(): void {
    const { size, budget } = this.#request;
    while (!this.#closed && this.#next < size) {
      const end = Math.min(size, this.#next + STRIPE_BYTES);
      if (end > this.#kept + READ_AHEAD_BYTES) return;
      if (this.#stripes.reduce((count, each) => count + (isComplete(each) ? 0 : 1), 0) >= this.#inFlight) return;
      const budgeted = this.#stripes.length >= FREE_STRIPES;
      if (budgeted && !budget.take()) return;
      const stripe = {
        start: this.#next,
        end,
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
      if (performance.now() - asked > FAR_MS) this.#widen();
      for await (const piece of bytes) {
        this.#readBytes += piece.length;
        const known = stripe.at - at;
        at += piece.length;
        if (at <= stripe.at) continue;
        piece.copy(stripe.data, stripe.at - stripe.start, known);
        stripe.at = Math.min(at, stripe.end);
        if (isComplete(stripe)) {
          stripe.stop.abort();
          this.#ask();
        }
        if (stripe === this.#stripes[0]) this.#wake();
      }
    } catch (error) {
      if (stripe.readers === 1 && !isComplete(stripe)) stripe.failure = { error };
    } finally {
      stripe.readers--;
      this.#wake();
    }
  }

  #widen(): void {
    if (this.#inFlight === STRIPES_IN_FLIGHT) return;
    this.#inFlight = STRIPES_IN_FLIGHT;
    this.#ask();
  }

  #drop(stripe: Stripe): void {
    stripe.stop.abort();
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
