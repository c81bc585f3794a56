/**
 * Reading a blob that this region still lacks, so that it crosses the long link once however many read it: through the
 * worker that copies it (crossing.proto).
 *
 * Only ever a try: whatever the worker says, or if it says nothing, the reader goes on at the same byte, from the
 * region's own location once the blob is there, or else from afar. As long as the worker may have more later, not all of
 * the rest is read from afar, but a piece, and then the worker is asked again.
 */
import { LRUCache } from 'lru-cache';
import type { FollowRequest } from '../../proto/generated/entrepot/crossing/v1/FollowRequest.js';
import type { FollowResponse__Output } from '../../proto/generated/entrepot/crossing/v1/FollowResponse.js';
import type { Digest } from '../oci/digest.js';
import { type CallContext, callMetadata } from '../rpc/call.js';
import { cancelCall } from '../rpc/cancel.js';
import { fail } from '../rpc/errors.js';
import { readMessages } from '../rpc/stream.js';
import type { Location } from './location.js';
import type { Locations } from './locations.js';
import type { NearWorker, NearWorkers } from './near-workers.js';
import { nextInTime } from './silence.js';

/** A worker that is silent for so long is given up; one that waits itself says so every half second. */
const SILENCE_MS = 2_000;

/** Bytes that nobody begins to read are given up after this time. */
const UNREAD_MS = 30_000;

/** How long a reader rather waits for the crossing than cross by itself: from the beginning on, and in the middle. */
const PATIENCE_MS = { whole: 10_000, part: 1_000 };

/** What is read from afar before the worker is asked again, in bytes: at first, twice as much each time, and at the most. */
const FIRST_PIECE_BYTES = 1024 * 1024;
const MOST_PIECE_BYTES = 8 * 1024 * 1024;

/** How long it is known that a blob is not to come to this region. */
const NOT_REQUIRED_KNOWN_MS = 10_000;

/** Where the bytes come from next. */
export type Next =
  | { readonly kind: 'crossing'; readonly target: string; readonly bytes: AsyncIterable<Buffer> }
  /** Where they are stored; so many of them at the most. */
  | { readonly kind: 'stored'; readonly limit: number };

/** A blob that somebody reads. */
export interface CrossingRequest {
  readonly locations: Locations;
  readonly digest: Digest;
  readonly size: number;
  /** The names of the locations that hold it. */
  readonly holders: readonly string[];
  readonly range: { readonly offset: number; readonly length: number };
  readonly context: CallContext;
}

/** The crossings to this region. */
export class Crossings {
  readonly #near: Location;
  readonly #workers: NearWorkers;
  readonly #notRequired = new LRUCache<Digest, true>({ max: 10_000, ttl: NOT_REQUIRED_KNOWN_MS });

  /** `near` is the region's own location, `workers` those that copy to it. */
  constructor(near: Location, workers: NearWorkers) {
    this.#near = near;
    this.#workers = workers;
  }

  /** The crossing of one read; undefined if it has no use for one. */
  for(request: CrossingRequest): Crossing | undefined {
    const { digest, holders, locations } = request;
    if (holders.includes(this.#near.name) || this.#notRequired.has(digest)) return undefined;
    // Without a source, or a place to go to, there is no copy to follow.
    const canBeCopied = this.#near.serves('write') && locations.forReading(holders).some(each => each.serves('read'));
    if (!canBeCopied) return undefined;
    return new Crossing(request, this.#near.name, this.#workers, () => this.#notRequired.set(digest, true));
  }
}

/** What one read knows about the crossing of its blob. */
export class Crossing {
  readonly #request: CrossingRequest;
  /** The name of the region's own location. */
  readonly #target: string;
  readonly #workers: NearWorkers;
  readonly #onNotRequired: () => void;
  /** What to do next: ask (a certain worker), read a piece from afar, or never ask again. */
  #then: 'ask' | 'piece' | 'never' = 'ask';
  /** How long the next piece from afar is. */
  #pieceBytes = FIRST_PIECE_BYTES;
  #hasAsked = false;
  #elsewhere: NearWorker | undefined;
  /** A worker has named another one since the last piece: two that name each other are not asked for ever. */
  #wasElsewhere = false;
  #stored = false;

  constructor(request: CrossingRequest, target: string, workers: NearWorkers, onNotRequired: () => void) {
    this.#request = request;
    this.#target = target;
    this.#workers = workers;
    this.#onNotRequired = onNotRequired;
  }

  /** The locations that hold the blob by now. */
  get holders(): readonly string[] {
    const { holders } = this.#request;
    return this.#stored ? [this.#target, ...holders] : holders;
  }

  /** Where the bytes from `offset` on come from now. Throws only the caller's own cancellation. */
  async next(offset: number, length: number): Promise<Next> {
    while (this.#then === 'ask') {
      const worker = this.#elsewhere ?? (await this.#workers.choose(this.#request.digest));
      this.#elsewhere = undefined;
      // One that did not answer, this read or another, may be back soon.
      if (!worker) this.#then = this.#hasAsked || this.#workers.mayBeBack ? 'piece' : 'never';
      const bytes = worker && (await this.#follow(worker, offset, length));
      if (bytes) return { kind: 'crossing', target: this.#target, bytes };
    }
    if (this.#then === 'never') return { kind: 'stored', limit: length };
    this.#then = 'ask';
    this.#wasElsewhere = false;
    const limit = Math.min(length, this.#pieceBytes);
    this.#pieceBytes = Math.min(MOST_PIECE_BYTES, 2 * this.#pieceBytes);
    return { kind: 'stored', limit };
  }

  /** The worker's bytes, once the first ones are here; undefined if it has none. They end early, but never fail. */
  async #follow(worker: NearWorker, offset: number, limit: number): Promise<AsyncIterable<Buffer> | undefined> {
    const { signal, ...rest } = this.#request.context;
    if (signal?.aborted) throw fail.cancelled();
    this.#hasAsked = true;
    const call = worker.stub.follow(this.#ask(offset, limit), callMetadata(rest));
    const messages = readMessages<FollowResponse__Output>(call, signal);
    const next = () => this.#nextData(worker, messages, () => cancelCall(call));
    const first = await next();
    if (!first) return undefined;
    const unread = setTimeout(() => cancelCall(call), UNREAD_MS).unref();
    return (async function* bytes() {
      clearTimeout(unread);
      try {
        for (let data: Buffer | undefined = first; data; data = await next()) yield data;
      } finally {
        await messages.return();
      }
    })();
  }

  #ask(offset: number, limit: number): FollowRequest {
    const { digest, size, holders, range } = this.#request;
    const patienceMs = range.offset === 0 ? PATIENCE_MS.whole : PATIENCE_MS.part;
    return { digest, location: this.#target, size, offset, limit, holders: [...holders], patienceMs };
  }

  /** The next bytes; undefined if there are no more to be had: what comes then has been noted. */
  async #nextData(
    worker: NearWorker,
    messages: AsyncGenerator<FollowResponse__Output>,
    giveUp: () => void,
  ): Promise<Buffer | undefined> {
    try {
      while (true) {
        const { value, done } = await nextInTime(messages, SILENCE_MS, giveUp);
        if (done) throw fail.unsupported('the worker ended the stream without a reason');
        if (value.data) {
          this.#pieceBytes = FIRST_PIECE_BYTES;
          return value.data;
        }
        if (value.end) {
          await this.#note(worker, value.end.reason, value.end.worker);
          await messages.return(undefined);
          return undefined;
        }
      }
    } catch {
      if (this.#request.context.signal?.aborted) throw fail.cancelled();
      this.#workers.avoid(worker);
      this.#then = 'piece';
      return undefined;
    }
  }

  async #note(worker: NearWorker, reason: string, address: string): Promise<void> {
    this.#then = 'piece';
    if (reason === 'END_REASON_STORED') {
      this.#stored = true;
      this.#then = 'never';
    } else if (reason === 'END_REASON_NOT_REQUIRED') {
      this.#onNotRequired();
      this.#then = 'never';
    } else if (
      reason === 'END_REASON_ELSEWHERE' &&
      !this.#wasElsewhere &&
      address !== '' &&
      address !== worker.address
    ) {
      this.#wasElsewhere = true;
      this.#elsewhere = await this.#workers.at(address);
      if (this.#elsewhere) this.#then = 'ask';
    }
  }
}
