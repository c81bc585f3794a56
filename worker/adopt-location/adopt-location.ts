/**
 * Takes over what a location's store holds already: every object is recorded as a copy that nobody has verified yet.
 *
 * Walked in the order of keys, a page in a statement. Doing it again finds what it recorded before: so it can be ended at
 * any time, and is gone on with by beginning anew. Objects that come meanwhile are recorded by those who write them.
 */
import type { BlobEntry, RemoteStore } from '../../lib/locations/store.js';
import type { Adoption } from '../../lib/metadata/adoption.js';
import type { LocationWork } from '../../lib/metadata/location-work.js';
import type { Digest } from '../../lib/oci/digest.js';
import { fail } from '../../lib/rpc/errors.js';
import { goOn, underLease } from '../location-lease.js';

export interface AdoptParts {
  readonly adoption: Adoption;
  readonly work: LocationWork;
}

export interface AdoptRequest {
  readonly location: string;
  readonly dryRun: boolean;
}

export interface AdoptCounts {
  readonly objects: number;
  readonly adopted: number;
  readonly known: number;
  readonly conflicts: number;
  readonly bytes: number;
}

/** An object that does not fit. */
export interface Conflict {
  readonly digest: Digest;
  /** Its own size, and the one on record. */
  readonly size: number;
  readonly recorded: number;
}

export type AdoptEvent =
  | { readonly kind: 'progress'; readonly counts: AdoptCounts; readonly done: boolean }
  | { readonly kind: 'conflict'; readonly conflict: Conflict };

const PAGE = 1_000;

/** Adopts what is in a location; what happens is told on the way. `store` is the location's. */
export async function* adoptLocation(
  parts: AdoptParts,
  store: RemoteStore,
  request: AdoptRequest,
  signal: AbortSignal,
): AsyncGenerator<AdoptEvent> {
  const adopting = (ending: AbortSignal) => adopt(parts, store, request, ending);
  if (request.dryRun) return yield* adopting(signal);
  yield* underLease(parts.work, { location: request.location, kind: 'adopt' }, signal, adopting);
}

async function* adopt(
  { adoption }: AdoptParts,
  store: RemoteStore,
  { location, dryRun }: AdoptRequest,
  signal: AbortSignal,
): AsyncGenerator<AdoptEvent> {
  let counts: AdoptCounts = { objects: 0, adopted: 0, known: 0, conflicts: 0, bytes: 0 };
  for await (const page of pagesOf(store, signal)) {
    goOn(signal);
    const sizes = new Map(page.map(({ digest, size }) => [digest, size]));
    const results = await adoption.adopt(location, page, dryRun);
    if (results.length < page.length) throw fail.refused(`${location} is being removed: it takes nothing over`);
    const adopted = results.filter(each => each.adopted);
    const conflicts = results.filter(each => each.conflict !== undefined);
    counts = {
      objects: counts.objects + page.length,
      adopted: counts.adopted + adopted.length,
      known: counts.known + results.length - adopted.length - conflicts.length,
      conflicts: counts.conflicts + conflicts.length,
      bytes: counts.bytes + adopted.reduce((sum, { digest }) => sum + (sizes.get(digest) ?? 0), 0),
    };
    for (const { digest, conflict: recorded = 0 } of conflicts) {
      yield { kind: 'conflict', conflict: { digest, size: sizes.get(digest) ?? 0, recorded } };
    }
    yield { kind: 'progress', counts, done: false };
  }
  yield { kind: 'progress', counts, done: true };
}

/** The objects of a store, by the thousand. */
async function* pagesOf(store: RemoteStore, signal: AbortSignal): AsyncGenerator<BlobEntry[]> {
  let page: BlobEntry[] = [];
  for await (const object of store.list(undefined, signal)) {
    page.push(object);
    if (page.length < PAGE) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}
