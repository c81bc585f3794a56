/**
 * Copies many small blobs with few round trips: one read and one write for a whole batch.
 *
 * Every blob is hashed twice: here, so that a damaged source is found and the next one asked, and by the target before
 * it answers that the blob is durable.
 */
import type { Location } from '../../lib/locations/location.js';
import type { Locations } from '../../lib/locations/locations.js';
import { algorithmOf, type Digest, digestOf } from '../../lib/oci/digest.js';
import { fail } from '../../lib/rpc/errors.js';
import { HealthWatch } from './health-watch.js';
import type { HeldJob } from './leases.js';

/** The largest blob that goes into a batch, in bytes. */
export const SMALL_BLOB_BYTES = 1024 * 1024;

/** The most that a batch may carry, by the storage contract. */
export const BATCH_BYTES = 3 * 1024 * 1024;
export const BATCH_BLOBS = 500;

/** For a batch that can come from one location only: 3 MiB take so long at 100 kbit/s. */
const ONLY_SOURCE_DEADLINE_MS = 5 * 60_000;

/** What became of a job. */
export interface Outcome {
  readonly job: HeldJob;
  /** Undefined if the target has the blob, verified. */
  readonly error: unknown;
  /** The locations whose copy turned out not to be what the digest says. */
  readonly damaged: readonly string[];
  /** Bytes that came from the sources for it, those that came twice counted twice; absent for a blob of a batch. */
  readonly readBytes?: number;
}

/** Divides jobs into batches, each for one target and within the contract's limits. */
export function intoBatches(jobs: readonly HeldJob[]): HeldJob[][] {
  const batches: HeldJob[][] = [];
  for (const target of new Set(jobs.map(job => job.target))) {
    let batch: HeldJob[] = [];
    let bytes = 0;
    for (const job of jobs.filter(each => each.target === target)) {
      if (batch.length === BATCH_BLOBS || bytes + job.size > BATCH_BYTES) {
        batches.push(batch);
        batch = [];
        bytes = 0;
      }
      batch.push(job);
      bytes += job.size;
    }
    if (batch.length > 0) batches.push(batch);
  }
  return batches;
}

/**
 * Copies one batch to its target. Never throws: each job has an outcome of its own. `onFetched` hears of the bytes as
 * soon as they are here.
 */
export async function copyBatch(
  locations: Locations,
  target: Location,
  jobs: readonly HeldJob[],
  signal: AbortSignal,
  onFetched: (digest: Digest, bytes: Buffer) => void = () => {},
): Promise<Outcome[]> {
  const { found, errors, damaged } = await fetchBlobs(locations, jobs, signal);
  for (const [digest, bytes] of found) onFetched(digest, bytes);
  const ready = jobs.filter(job => found.has(job.digest));
  if (ready.length > 0) {
    const blobs = ready.map(job => ({ digest: job.digest, data: found.get(job.digest) ?? Buffer.alloc(0) }));
    try {
      const results = await target.store.writeBatch(blobs, { signal });
      for (const [index, result] of results.entries()) {
        const job = ready[index];
        if (job && 'error' in result) errors.set(job.digest, result.error);
      }
    } catch (error) {
      for (const job of ready) errors.set(job.digest, error);
    }
  }
  return jobs.map(job => ({ job, error: errors.get(job.digest), damaged: damaged.get(job.digest) ?? [] }));
}

/** The bytes that could be had, and for each other blob why not. */
interface Fetched {
  readonly found: Map<Digest, Buffer>;
  readonly errors: Map<Digest, unknown>;
  readonly damaged: Map<Digest, string[]>;
}

/** Reads the blobs, each from the first of its sources that gives the right bytes. */
async function fetchBlobs(locations: Locations, jobs: readonly HeldJob[], signal: AbortSignal): Promise<Fetched> {
  const fetched: Fetched = {
    found: new Map(),
    errors: new Map(jobs.map(job => [job.digest, noSource(job)])),
    damaged: new Map(),
  };
  for (const source of locations.forReading([...new Set(jobs.flatMap(job => job.sources))])) {
    const isWanted = (job: HeldJob) => job.target !== source.name && job.sources.includes(source.name);
    const wanted = jobs.filter(job => !fetched.found.has(job.digest) && isWanted(job));
    if (wanted.length > 0) await fetchFrom(source, wanted, fetched, signal);
  }
  return fetched;
}

async function fetchFrom(
  source: Location,
  jobs: readonly HeldJob[],
  into: Fetched,
  signal: AbortSignal,
): Promise<void> {
  try {
    const digests = jobs.map(job => job.digest);
    // Where all of it can only come from here, it may take its time, as over a slow link it does.
    const isOnlySource = jobs.every(job => job.sources.every(name => name === source.name || name === job.target));
    const deadlineMs = isOnlySource ? ONLY_SOURCE_DEADLINE_MS : undefined;
    const results = await whileHealthy(source, signal, both =>
      source.store.readBatch(digests, { signal: both }, deadlineMs),
    );
    for (const [index, { digest }] of jobs.entries()) {
      const result = results[index];
      if (!result || 'error' in result) {
        into.errors.set(digest, result?.error);
        continue;
      }
      const is = digestOf(result.value, algorithmOf(digest));
      if (is === digest) {
        into.found.set(digest, result.value);
        into.errors.delete(digest);
      } else {
        into.errors.set(digest, fail.corrupt(digest, `in ${source.name} they hash to ${is}`));
        into.damaged.set(digest, [...(into.damaged.get(digest) ?? []), source.name]);
      }
    }
  } catch (error) {
    for (const job of jobs) into.errors.set(job.digest, error);
  }
}

/**
 * Gives a call up when its location turns out to be away. A batch says nothing until all of it is here, which may take a
 * minute over a slow link; health is told within seconds.
 */
async function whileHealthy<T>(
  source: Location,
  signal: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const away = new AbortController();
  const watch = new HealthWatch([source], () => {
    if (!source.serves('read')) away.abort();
  });
  try {
    return await call(AbortSignal.any([signal, away.signal]));
  } catch (error) {
    throw away.signal.aborted ? fail.storeUnreachable(`${source.name} is away`) : error;
  } finally {
    watch.close();
  }
}

function noSource(job: HeldJob): Error {
  return fail.blobUnknown(`${job.digest} (recorded in: ${job.sources.join(', ') || 'no location'})`);
}
