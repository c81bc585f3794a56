/**
 * Objects without a record.
 *
 * A push or a copy writes its object first, and its record a moment later: so an object that is not old is looked at again
 * when the grace is over, with the others at the end. The store's clock decides what is old, and only by a wide margin.
 */
import type { BlobEntry, RemoteStore } from '../../lib/locations/store.js';
import { pause } from '../location-lease.js';
import type { Found } from './events.js';
import type { VerifyParts } from './verify-location.js';

/** An object that was written so long ago has its record by now, whatever the clocks say. */
const OLD_MS = 60 * 60_000;
/** Young ones that are remembered; those beyond are left to the next verification. */
const MOST_YOUNG = 10_000;
const AT_ONCE = 1_000;

export class Strangers {
  readonly #parts: VerifyParts;
  readonly #store: RemoteStore;
  readonly #location: string;
  readonly #signal: AbortSignal;
  readonly #young: BlobEntry[] = [];
  #lastAt = 0;

  constructor(parts: VerifyParts, store: RemoteStore, location: string, signal: AbortSignal) {
    this.#parts = parts;
    this.#store = store;
    this.#location = location;
    this.#signal = signal;
  }

  /** Those of these objects, which had no record, that nobody refers to; the young ones are remembered. */
  async among(objects: readonly BlobEntry[]): Promise<Found[]> {
    const isOld = ({ modifiedMs }: BlobEntry) => modifiedMs < Date.now() - OLD_MS;
    const young = objects.filter(object => !isOld(object)).slice(0, MOST_YOUNG - this.#young.length);
    this.#young.push(...young);
    if (young.length > 0) this.#lastAt = performance.now();
    return this.#unrecorded(objects.filter(isOld));
  }

  /** Those of the remembered ones that still have no record when the grace is over. */
  async rest(): Promise<Found[]> {
    if (this.#young.length === 0) return [];
    await pause(Math.max(0, this.#lastAt + this.#parts.graceMs - performance.now()), this.#signal);
    const found: Found[] = [];
    for (let at = 0; at < this.#young.length; at += AT_ONCE) {
      found.push(...(await this.#unrecorded(this.#young.slice(at, at + AT_ONCE))));
    }
    return found;
  }

  async #unrecorded(objects: readonly BlobEntry[]): Promise<Found[]> {
    if (objects.length === 0) return [];
    const { verification } = this.#parts;
    const recorded = await verification.recorded(
      this.#location,
      objects.map(({ digest }) => digest),
    );
    const strangers = objects.filter(({ digest }) => !recorded.has(digest));
    if (strangers.length === 0) return [];
    const gone = new Set(
      await this.#store.findMissing(
        strangers.map(({ digest }) => digest),
        this.#signal,
      ),
    );
    return strangers
      .filter(({ digest }) => !gone.has(digest))
      .map(({ digest, size }) => ({
        kind: 'unreferenced',
        digest,
        size,
        detail: 'it is in the store, and not on record: nobody refers to it. It is left alone',
      }));
  }
}
