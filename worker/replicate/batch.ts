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
import type { HeldJob } from './leases.js';

/** The largest blob that goes into a batch, in bytes. */
export const SMALL_BLOB_BYTES = 1024 * 1024;

/** The most that a batch may carry, by the storage contract. */
const BATCH_BYTES = 3 * 1024 * 1024;
const BATCH_BLOBS = 500;

/** What became of a job: no error means that the target has the blob, verified. */
export interface Outcome {
  readonly job: HeldJob;
  readonly error?: unknown;
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

/** Copies one batch to its target. Never throws: each job has an outcome of its own. */
export async function copyBatch(
  locations: Locations,
  target: Location,
  jobs: readonly HeldJob[],
  signal: AbortSignal,
): Promise<Outcome[]> {
  const { found, errors } = await fetchBlobs(locations, jobs, signal);
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
  return jobs.map(job => (errors.has(job.digest) ? { job, error: errors.get(job.digest) } : { job }));
}

/** Reads the blobs, each from the first of its sources that gives the right bytes. */
async function fetchBlobs(
  locations: Locations,
  jobs: readonly HeldJob[],
  signal: AbortSignal,
): Promise<{ found: Map<Digest, Buffer>; errors: Map<Digest, unknown> }> {
  const found = new Map<Digest, Buffer>();
  const errors = new Map<Digest, unknown>(jobs.map(job => [job.digest, noSource(job)]));
  for (const source of locations.forReading([...new Set(jobs.flatMap(job => job.sources))])) {
    const wanted = jobs.filter(
      job => !found.has(job.digest) && job.target !== source.name && job.sources.includes(source.name),
    );
    if (wanted.length === 0) continue;
    try {
      const results = await source.store.readBatch(
        wanted.map(job => job.digest),
        { signal },
      );
      for (const [index, job] of wanted.entries()) {
        const result = results[index];
        const error = !result || 'error' in result ? result?.error : damage(job, result.value, source.name);
        if (error || !result || 'error' in result) {
          errors.set(job.digest, error);
        } else {
          found.set(job.digest, result.value);
          errors.delete(job.digest);
        }
      }
    } catch (error) {
      for (const job of wanted) errors.set(job.digest, error);
    }
  }
  return { found, errors };
}

function damage(job: HeldJob, data: Buffer, source: string): Error | undefined {
  const digest = digestOf(data, algorithmOf(job.digest));
  return digest === job.digest ? undefined : fail.corrupt(job.digest, `in ${source} they hash to ${digest}`);
}

function noSource(job: HeldJob): Error {
  return fail.blobUnknown(`${job.digest} (recorded in: ${job.sources.join(', ') || 'no location'})`);
}
