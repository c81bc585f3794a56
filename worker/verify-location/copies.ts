/** Looks at one recorded copy, and has it made anew if it is not what it should be. */
import type { BlobEntry, RemoteStore } from '../../lib/locations/store.js';
import type { RecordedCopy } from '../../lib/metadata/verification.js';
import type { Digest } from '../../lib/oci/digest.js';
import { isTransient, StatusError } from '../../lib/rpc/errors.js';
import { pause } from '../location-lease.js';
import type { Found } from './events.js';
import type { VerifyParts, VerifyRequest } from './verify-location.js';

/** A store that is away for a moment is asked again; for longer, the call ends, and can be gone on with. */
const ATTEMPTS = 6;
const RETRY_MS = 500;

export interface Look {
  readonly found: Found | undefined;
  readonly bytesHashed: number;
  /** It was not verified before, and now is. */
  readonly newlyVerified: boolean;
}

/** What is wrong with a copy. */
type Wrong = { readonly kind: 'missing' | 'corrupt'; readonly what: string };

export class Copy {
  readonly #parts: VerifyParts;
  readonly #store: RemoteStore;
  readonly #request: VerifyRequest;
  readonly #signal: AbortSignal;

  constructor(parts: VerifyParts, store: RemoteStore, request: VerifyRequest, signal: AbortSignal) {
    this.#parts = parts;
    this.#store = store;
    this.#request = request;
    this.#signal = signal;
  }

  /** `listed` is the object as the list of the store has it. */
  async look(copy: RecordedCopy, listed: BlobEntry | undefined): Promise<Look> {
    const wrongSize = listed?.size === copy.size ? undefined : await this.#sizeAgain(copy);
    if (wrongSize) return this.#report(copy, wrongSize, 0);
    if (this.#request.depth === 'size') return { found: undefined, bytesHashed: 0, newlyVerified: false };
    const wrong = await this.#hash(copy.digest);
    if (wrong) return this.#report(copy, wrong, copy.size);
    const newlyVerified =
      !copy.verified &&
      (this.#request.dryRun || (await this.#parts.verification.noteVerified(this.#request.location, copy.digest)));
    return { found: undefined, bytesHashed: copy.size, newlyVerified };
  }

  /** The list is older than the record, or was read while the object was replaced. */
  async #sizeAgain({ digest, size }: RecordedCopy): Promise<Wrong | undefined> {
    const is = await this.#patiently(() => this.#store.stat(digest, this.#signal));
    if (is === undefined) return { kind: 'missing', what: 'it is not in the store' };
    return is === size ? undefined : { kind: 'corrupt', what: `it has ${is} bytes instead of ${size}` };
  }

  async #hash(digest: Digest): Promise<Wrong | undefined> {
    try {
      await this.#patiently(() => this.#store.verify(digest, this.#signal));
      return undefined;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      if (error.status === 'NOT_FOUND') return { kind: 'missing', what: 'it is not in the store' };
      if (error.status === 'DATA_LOSS') return { kind: 'corrupt', what: error.message };
      throw error;
    }
  }

  async #report({ digest, size }: RecordedCopy, { kind, what }: Wrong, bytesHashed: number): Promise<Look> {
    const { verification, replication, onQueued, log } = this.#parts;
    const { location, dryRun } = this.#request;
    const none: Look = { found: undefined, bytesHashed, newlyVerified: false };
    // It may have been removed, with its record, since the record was read.
    if (!(await verification.recorded(location, [digest])).has(digest)) return none;
    if (dryRun) return { ...none, found: { kind, digest, size, detail: what } };
    const mended = await replication.distrust(digest, location, `a verification found: ${what}`);
    const done = mended
      ? 'it will be made again from another location'
      : 'no other location has a verified copy: push the blob again to mend it';
    log.error({ digest, location, kind }, `a copy is not what it should be: ${what}; ${done}`);
    if (mended) onQueued();
    return { ...none, found: { kind, digest, size, detail: `${what}; ${done}` } };
  }

  async #patiently<T>(ask: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask();
      } catch (error) {
        if (!isTransient(error) || attempt === ATTEMPTS) throw error;
      }
      await pause(RETRY_MS * attempt * (0.5 + Math.random()), this.#signal);
    }
  }
}
