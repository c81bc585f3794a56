/**
 * A stand-in for the locations that a blob is read from: it answers `store.read` as the test tells it to, call by call. No
 * real node can be told to be late with one stripe and not with another.
 */
import { pino } from 'pino';
import { Location } from '../../lib/locations/location.js';
import { Locations } from '../../lib/locations/locations.js';
import type { ReadAhead } from '../../lib/locations/read-ahead.js';
import { type BlobBody, RemoteStore, type StoreContext } from '../../lib/locations/store.js';
import { PASSED_OVER } from '../../lib/locations/width.js';
import type { Digest } from '../../lib/oci/digest.js';
import { fail, type StatusError } from '../../lib/rpc/errors.js';

/** One call of `store.read`. It answers nothing until it is told to. */
export class ScriptedCall {
  readonly offset: number;
  readonly end: number;
  readonly signal: AbortSignal | undefined;
  /** Whether it asked to come after those before it on its connection. */
  readonly inTurn: boolean;
  readonly #blob: Buffer;
  readonly #pieceBytes: number;
  readonly #opening: Promise<void>;
  #opened: () => void = () => {};
  #refused: (error: StatusError) => void = () => {};
  #given: number;
  #isRefused = false;
  #wake: () => void = () => {};

  constructor(
    blob: Buffer,
    pieceBytes: number,
    offset: number,
    limit: number,
    { signal, inTurn = false }: StoreContext,
  ) {
    this.#blob = blob;
    this.#pieceBytes = pieceBytes;
    this.offset = offset;
    this.#given = offset;
    this.end = offset + limit;
    this.signal = signal;
    this.inTurn = inTurn;
    this.#opening = new Promise((resolve, reject) => {
      this.#opened = resolve;
      this.#refused = reject;
    });
    signal?.addEventListener('abort', () => {
      this.#refused(fail.cancelled());
      this.#wake();
    });
  }

  /** Whether nothing more will come of it. */
  get isOver(): boolean {
    return this.#given === this.end || this.#isRefused || this.isCancelled;
  }

  get isCancelled(): boolean {
    return this.signal?.aborted ?? false;
  }

  /** Its first bytes are here, so `read` resolves; they are handed out once they are given. */
  open(): void {
    this.#opened();
  }

  /** Gives so many bytes more, by default all; opens it, too. */
  give(bytes = this.end - this.#given): void {
    this.open();
    this.#given = Math.min(this.end, this.#given + bytes);
    this.#wake();
  }

  /** Fails it before it was opened, in such a way that it is not tried again at once. */
  refuse(digest: Digest): void {
    this.#isRefused = true;
    this.#refused(fail.blobUnknown(digest));
  }

  async answer(): Promise<BlobBody> {
    await this.#opening;
    return { size: this.#blob.length, bytes: this.#bytes() };
  }

  async *#bytes(): AsyncGenerator<Buffer> {
    for (let at = this.offset; at < this.end; ) {
      if (this.isCancelled) throw fail.cancelled();
      const next = Math.min(this.#given, at + this.#pieceBytes);
      if (next > at) yield this.#blob.subarray(at, next);
      else {
        await new Promise<void>(resolve => {
          this.#wake = resolve;
        });
      }
      at = next;
    }
  }
}

type Called = (offset: number, limit: number, context: StoreContext) => ScriptedCall;

class ScriptedStore extends RemoteStore {
  readonly #called: Called;

  constructor(location: Location, called: Called) {
    super(location);
    this.#called = called;
  }

  override read(_: Digest, range: { offset: number; limit?: number }, context?: StoreContext | AbortSignal) {
    const told = context instanceof AbortSignal ? { signal: context } : (context ?? {});
    return this.#called(range.offset, range.limit ?? 0, told).answer();
  }
}

class ScriptedLocation extends Location {
  override readonly store: RemoteStore;

  constructor(called: Called) {
    super('scripted', []);
    this.store = new ScriptedStore(this, called);
  }

  override serves(): boolean {
    return true;
  }
}

/** Locations of which one has the blob. */
export class ScriptedSource extends Locations {
  /** All calls so far. */
  readonly calls: ScriptedCall[] = [];
  /** What happens with each call at once; nothing by default. */
  onCall: (call: ScriptedCall) => void = () => {};
  readonly #location: Location;

  /** `pieceBytes`: how much comes in one piece. */
  constructor(blob: Buffer, pieceBytes = 300_001) {
    const log = pino({ level: 'silent' });
    super({ locations: [], preference: [], identify: async () => true, log });
    this.#location = new ScriptedLocation((offset, limit, context) => {
      const call = new ScriptedCall(blob, pieceBytes, offset, limit, context);
      this.calls.push(call);
      this.onCall(call);
      return call;
    });
  }

  override forReading(): Location[] {
    return [this.#location];
  }

  /** Calls of which more is to come. */
  get open(): ScriptedCall[] {
    return this.calls.filter(call => !call.isOver);
  }

  /** The end of what was asked for so far. */
  get askedFor(): number {
    return Math.max(0, ...this.calls.map(({ end }) => end));
  }
}

/** What is found out about the way from the scripted location, past the first stripes, which are passed over (width.ts). */
export function pastFirstStripes(readAhead: ReadAhead): void {
  const width = readAhead.widthOf('scripted');
  width.asked();
  for (let i = 0; i < PASSED_OVER; i++) width.came(1_000, 0);
  width.over();
}
