/**
 * Compares a location's store with what is recorded about it.
 *
 * Both are walked in the order of digests, a page at a time: the next records, the next objects, and of both what lies
 * before the end of the shorter page. So it takes the same memory for any number of blobs, holds nothing open, and goes on
 * from any digest. The two are not read at the same moment: whatever looks wrong is looked at again before it is said.
 */
import type { Logger } from 'pino';
import type { BlobEntry, RemoteStore } from '../../lib/locations/store.js';
import type { LocationWork } from '../../lib/metadata/location-work.js';
import type { Replication } from '../../lib/metadata/replication.js';
import type {
  RecordedCopy,
  Verification,
  VerificationCounts,
  VerificationKind,
} from '../../lib/metadata/verification.js';
import { type Digest, hexOf } from '../../lib/oci/digest.js';
import { goOn, underLease } from '../location-lease.js';
import { Copy } from './copies.js';
import type { Found, VerifyEvent } from './events.js';
import { Strangers } from './strangers.js';

export interface VerifyParts {
  readonly verification: Verification;
  readonly replication: Replication;
  readonly work: LocationWork;
  /** Called when copies may have been queued. */
  readonly onQueued: () => void;
  readonly log: Logger;
  /** How long an object may have no record because its push, or its copy, is not over yet. */
  readonly graceMs: number;
}

export interface VerifyRequest extends VerificationKind {
  /** Begins anew, though an earlier call could be gone on with. */
  readonly restart: boolean;
  /** Changes nothing, and does not remember where it stopped. */
  readonly dryRun: boolean;
}

/** How long an object may be without a record before it is called one that nobody refers to. */
export const GRACE_MS = 60_000;

/** Records, and objects, that are looked at in one go; after each, where it stopped is kept. Hashing takes its time. */
const PAGE = { size: 1_000, digest: 200 };
/** Copies that are hashed, or asked for, at the same time. */
const SIDE_BY_SIDE = 4;
/** Progress comes so often. */
const TELL_MS = 1_000;
const NOTHING: VerificationCounts = {
  blobsDone: 0,
  bytesHashed: 0,
  missing: 0,
  corrupt: 0,
  newlyVerified: 0,
  unreferenced: 0,
};

/** Verifies a location; what is found is told on the way. `store` is the location's. */
export async function* verifyLocation(
  parts: VerifyParts,
  store: RemoteStore,
  request: VerifyRequest,
  signal: AbortSignal,
): AsyncGenerator<VerifyEvent> {
  const verifying = (ending: AbortSignal) => new LocationVerification(parts, store, request, ending).run();
  if (request.dryRun) return yield* verifying(signal);
  yield* underLease(parts.work, { location: request.location, kind: 'verify' }, signal, verifying);
}

class LocationVerification {
  readonly #parts: VerifyParts;
  readonly #store: RemoteStore;
  readonly #request: VerifyRequest;
  readonly #signal: AbortSignal;
  readonly #copy: Copy;
  readonly #strangers: Strangers;
  #counts = NOTHING;
  #total = 0;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(parts: VerifyParts, store: RemoteStore, request: VerifyRequest, signal: AbortSignal) {
    this.#parts = parts;
    this.#store = store;
    this.#request = request;
    this.#signal = signal;
    this.#copy = new Copy(parts, store, request, signal);
    this.#strangers = new Strangers(parts, store, request.location, signal);
  }

  async *run(): AsyncGenerator<VerifyEvent> {
    const { verification } = this.#parts;
    const { dryRun, location, restart } = this.#request;
    this.#total = await verification.total(location);
    const begun = dryRun || restart ? undefined : await verification.position(this.#request);
    this.#counts = begun?.counts ?? NOTHING;
    for (let after: string | undefined = begun?.after ?? ''; after !== undefined; ) {
      after = yield* this.#page(after);
      if (!dryRun && after !== undefined)
        await verification.keepPosition(this.#request, { after, counts: this.#counts });
    }
    yield* this.#say(await this.#strangers.rest());
    if (!dryRun) await verification.forgetPosition(this.#request);
    yield this.#progress(true);
  }

  /** Looks at the next part; resolves to where it ends, or undefined at the end of all. */
  async *#page(after: string): AsyncGenerator<VerifyEvent, string | undefined> {
    const { location } = this.#request;
    const most = PAGE[this.#request.depth];
    // The records first: a copy that comes in between is an object without a record, and not a record without one.
    const copies = await this.#parts.verification.copiesAfter(location, after, most);
    const objects = await this.#objectsAfter(after, most);
    const ends = [copies, objects].filter(page => page.length === most).map(page => page[most - 1]?.digest ?? '');
    const end = ends.toSorted()[0];
    const isInside = ({ digest }: { digest: Digest }) =>
      (end === undefined || digest <= end) && isSampled(digest, this.#request.percent);
    const stored = new Map(objects.filter(isInside).map(object => [object.digest, object]));
    const recorded = copies.filter(isInside);
    for (let at = 0; at < recorded.length; at += SIDE_BY_SIDE) {
      goOn(this.#signal);
      yield* this.#look(recorded.slice(at, at + SIDE_BY_SIDE), stored);
      if (performance.now() - this.#toldAt >= TELL_MS) yield this.#progress();
    }
    for (const { digest } of recorded) stored.delete(digest);
    yield* this.#say(await this.#strangers.among([...stored.values()]));
    yield this.#progress();
    return end;
  }

  async *#look(copies: readonly RecordedCopy[], stored: ReadonlyMap<Digest, BlobEntry>): AsyncGenerator<VerifyEvent> {
    const looks = await Promise.all(copies.map(copy => this.#copy.look(copy, stored.get(copy.digest))));
    for (const { found, bytesHashed, newlyVerified } of looks) {
      this.#counts = {
        ...this.#counts,
        blobsDone: this.#counts.blobsDone + 1,
        bytesHashed: this.#counts.bytesHashed + bytesHashed,
        newlyVerified: this.#counts.newlyVerified + (newlyVerified ? 1 : 0),
      };
      if (found) yield* this.#say([found]);
    }
  }

  async *#say(all: readonly Found[]): AsyncGenerator<VerifyEvent> {
    for (const found of all) {
      this.#counts = { ...this.#counts, [found.kind]: this.#counts[found.kind] + 1 };
      yield { kind: 'found', found };
    }
  }

  #progress(done = false): VerifyEvent {
    this.#toldAt = performance.now();
    return { kind: 'progress', counts: this.#counts, total: Math.max(this.#total, this.#counts.blobsDone), done };
  }

  /** The next objects of the store. The stream is not kept: the store would wait for us while we hash. */
  async #objectsAfter(after: string, most: number): Promise<BlobEntry[]> {
    const objects: BlobEntry[] = [];
    for await (const object of this.#store.list((after || undefined) as Digest | undefined, this.#signal)) {
      objects.push(object);
      if (objects.length === most) break;
    }
    return objects;
  }
}

/** Whether a digest is in the part that is looked at: digests are evenly distributed by themselves. */
export function isSampled(digest: Digest, percent: number): boolean {
  return percent >= 100 || Number.parseInt(hexOf(digest).slice(-8), 16) % 100 < percent;
}
