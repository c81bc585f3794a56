/**
 * Draining a location: unfinished uploads there end, and what is only there is copied away.
 *
 * The blobs are walked in the order of their ids, and copies are queued on the way; the workers make them as they make all
 * copies. Of those that are only there, so many are remembered and watched; when these are elsewhere the walk begins anew,
 * until it finds none. So it takes the same memory for any number of blobs, and what comes meanwhile is found, too.
 */
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import type { Removal } from '../../lib/metadata/removal.js';
import { fail } from '../../lib/rpc/errors.js';
import { goOn, pause } from '../location-lease.js';
import type { RemovalEvent } from './events.js';
import { counted, lastCopies } from './refusals.js';

/** How long a removal waits, in milliseconds. */
export interface Patience {
  /** Between two looks. */
  readonly lookMs: number;
  /** An upload that nobody has written to for so long is ended. */
  readonly idleUploadMs: number;
  /** After so long, all uploads are ended. */
  readonly uploadsMs: number;
  /** Copies of which none has got any further for so long will not be made. */
  readonly stallMs: number;
}

export const PATIENCE: Patience = { lookMs: 500, idleUploadMs: 10_000, uploadsMs: 60_000, stallMs: 60_000 };

export interface DrainParts {
  readonly removal: Removal;
  readonly locations: Locations;
  /** FEATURE_STORAGE_REPLICATION: without it, nothing is copied away. */
  readonly replicate: boolean;
  /** Called when copies may have been queued. */
  readonly onQueued: () => void;
  readonly patience: Patience;
  readonly log: Logger;
}

/** Blobs that are remembered at a time. */
const MOST_WATCHED = 10_000;
const EXAMPLES = 5;
const UPLOADS_AT_ONCE = 100;
const FREE_MS = 2_000;

/** What is only in the location. */
interface Found {
  readonly count: number;
  /** The first of them. */
  readonly blobs: readonly string[];
}

export class Drain {
  readonly #parts: DrainParts;
  readonly #location: string;
  readonly #signal: AbortSignal;

  constructor(parts: DrainParts, location: string, signal: AbortSignal) {
    this.#parts = parts;
    this.#location = location;
    this.#signal = signal;
  }

  /** Runs until nothing is only there. Throws REFUSED or REPLICATION_OFF for what cannot be copied away; with `force`, it is left there. */
  async *run(force: boolean): AsyncGenerator<RemovalEvent> {
    let found = await this.find(true);
    yield* this.#endUploads(found.count);
    while (true) {
      found = await this.find(true);
      if (found.count === 0) return;
      const error = yield* this.#watch(found);
      if (error && force) return;
      if (error) throw error;
    }
  }

  /** Ends all uploads that are there now. */
  async endAllUploads(): Promise<void> {
    while ((await this.#endSome(undefined)) > 0) {}
  }

  /** Walks all blobs; with `rescue`, copies are queued of what is only there. */
  async find(rescue: boolean): Promise<Found> {
    const { removal, locations, onQueued, replicate } = this.#parts;
    const rescueTo = rescue && replicate ? locations.forWriting().map(({ name }) => name) : undefined;
    const blobs: string[] = [];
    let count = 0;
    for (let after = '0'; ; ) {
      goOn(this.#signal);
      const page = await removal.lookForOnlyCopies(this.#location, after, rescueTo);
      count += page.blobs.length;
      for (const blob of page.blobs) if (blobs.length < MOST_WATCHED) blobs.push(blob);
      if (page.last === undefined) break;
      after = page.last;
    }
    if (rescue && count > 0) onQueued();
    return { count, blobs };
  }

  /** Waits until these are elsewhere; resolves to why they will not be, if they get no further. */
  async *#watch(found: Found): AsyncGenerator<RemovalEvent, Error | undefined> {
    const { removal, locations, patience, replicate } = this.#parts;
    if (!replicate) return fail.replicationOff();
    let { count, blobs } = found;
    let before = '';
    let movedAt = performance.now();
    while (true) {
      const state = await removal.rescueState(this.#location, blobs);
      count -= blobs.length - state.blobs.length;
      blobs = state.blobs;
      if (blobs.length === 0) return undefined;
      const now = `${blobs.length} ${state.bytesDone}`;
      if (now !== before) movedAt = performance.now();
      before = now;
      const examples = await removal.stuck(this.#location, blobs.slice(0, EXAMPLES));
      const known = locations.get(this.#location) !== undefined || (await removal.isKnownToWorkers(this.#location));
      if (!known || performance.now() - movedAt >= patience.stallMs) {
        return lastCopies(this.#location, count, examples, known);
      }
      const failure = examples.find(({ reason }) => reason !== undefined)?.reason;
      const waitingFor = `copies of ${counted(count, 'blob')}${failure ? `; the last one failed: ${failure}` : ''}`;
      yield await this.#progress(count, waitingFor);
      await pause(patience.lookMs, this.#signal);
    }
  }

  /** Waits for uploads that somebody writes to, ends those that nobody does, and after a while all. */
  async *#endUploads(onlyCopies: number): AsyncGenerator<RemovalEvent> {
    const { patience, removal } = this.#parts;
    const until = performance.now() + patience.uploadsMs;
    while (true) {
      await this.#endSome(performance.now() < until ? patience.idleUploadMs : undefined);
      const { uploads } = await removal.contents(this.#location);
      yield await this.#progress(onlyCopies, uploads > 0 ? `${counted(uploads, 'upload')} to end` : '');
      if (uploads === 0) return;
      await pause(patience.lookMs, this.#signal);
    }
  }

  async #progress(onlyCopies: number, waitingFor: string): Promise<RemovalEvent> {
    const contents = await this.#parts.removal.contents(this.#location);
    return { kind: 'progress', progress: { phase: 'draining', onlyCopies, ...contents, waitingFor } };
  }

  /** Ends uploads, and frees what they hold; what cannot be freed now, the location's own sweep finds a day later. */
  async #endSome(idleMs: number | undefined): Promise<number> {
    const { removal, locations, log } = this.#parts;
    const ended = await removal.endUploads(this.#location, idleMs, UPLOADS_AT_ONCE);
    for (const { uuid, session } of ended) {
      try {
        await locations.get(this.#location)?.store.abort(session, AbortSignal.timeout(FREE_MS));
      } catch (error) {
        log.warn(
          { err: error, upload: uuid, location: this.#location },
          'the bytes of an upload could not be freed yet',
        );
      }
    }
    return ended.length;
  }
}
