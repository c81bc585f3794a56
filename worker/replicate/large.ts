/**
 * Copies one large blob, so that it can go on after any crash.
 *
 * The target's checkpoints are kept in the job's row: whichever worker takes it next begins there. The digest is known
 * from the start, and the target verifies it before the blob becomes visible. The source may change in the middle of
 * the blob (lib/locations/read.ts).
 */
import type { Location } from '../../lib/locations/location.js';
import type { Locations } from '../../lib/locations/locations.js';
import { BlobUnavailable } from '../../lib/locations/read.js';
import type { Checkpoint, StoreContext } from '../../lib/locations/store.js';
import { StripedRead } from '../../lib/locations/striped.js';
import type { Replication } from '../../lib/metadata/replication.js';
import { fail, hasReason, StatusError } from '../../lib/rpc/errors.js';
import type { Crossing } from '../crossing/crossing.js';
import { CheckpointKeeper } from './checkpoint-keeper.js';
import type { HeldJob } from './leases.js';
import type { Throttle } from './throttle.js';

export interface LargeCopy {
  readonly locations: Locations;
  readonly replication: Replication;
  readonly target: Location;
  readonly job: HeldJob;
  /** Where the bytes can be followed on their way. */
  readonly crossing: Crossing;
  /** What the target may take. */
  readonly throttle: Throttle;
  /** Sources whose copy did not look right, though another one's could be had. Filled while copying. */
  readonly suspects: Set<string>;
  /** Bytes that came from the sources, those that came twice counted twice. Added to while copying. */
  readBytes: number;
}

/** What is only in the target is hashed there so often. After that, it waits for another location to have the blob. */
const HASHED_IN_VAIN = 3;

/** Whether no location but the target is known to have the blob: it stands there, and is not verified. */
export function isOnlyInTarget({ sources, target }: Pick<HeldJob, 'sources' | 'target'>): boolean {
  return sources.length > 0 && sources.every(source => source === target);
}

/** Copies the blob; resolves once the target has it, verified. */
export async function copyLarge(copy: LargeCopy): Promise<void> {
  const { job, target } = copy;
  if (isOnlyInTarget(job) && job.attempts > HASHED_IN_VAIN)
    throw fail.corrupt(job.digest, `${target.name} has the only copy, and it is damaged: push the blob again`);
  if (job.checkpoint) {
    try {
      return await copyFrom(copy, job.checkpoint);
    } catch (error) {
      // The upload was collected, or committed by a worker that died before it could say so.
      if (!hasReason(error, 'UPLOAD_UNKNOWN', 'OFFSET', 'MALFORMED')) throw error;
    }
  }
  if (await isThere(copy)) return;
  await copyFrom(copy, await target.store.begin({ digest: job.digest }, contextOf(job)));
}

async function copyFrom(copy: LargeCopy, start: Checkpoint): Promise<void> {
  const { job, target } = copy;
  const context = contextOf(job);
  const last = start.offset < job.size ? await append(copy, start) : { checkpoint: start };
  try {
    await target.store.commit(last.checkpoint.session, job.digest, context);
  } catch (error) {
    await last.keeping;
    throw error;
  }
}

/** What an append has come to; `keeping` resolves once that is on record. */
interface Appended {
  readonly checkpoint: Checkpoint;
  readonly keeping?: Promise<void>;
}

/** Appends what is missing. The last checkpoints may still be on their way to the database: a commit need not wait for it. */
async function append(copy: LargeCopy, start: Checkpoint): Promise<Appended> {
  const { job, target, replication, throttle, crossing } = copy;
  const context = contextOf(job);
  const reads: StripedRead[] = [];
  const open = async (offset: number) => {
    const read = openSource(copy, offset);
    reads.push(read);
    return read.bytes();
  };
  const keeper = new CheckpointKeeper(
    (checkpoint, first) => replication.checkpoint(job, checkpoint, first),
    offset => {
      for (const read of reads) read.kept(offset);
    },
  );
  try {
    const checkpoint = await target.store.append(
      start.session,
      throttle.meter(crossing.through(start.offset, open), context.signal, () => crossing.isFollowed),
      each => keeper.note(each),
      context,
      start.offset,
    );
    return { checkpoint, keeping: keeper.close() };
  } catch (error) {
    await keeper.close();
    throw error;
  } finally {
    for (const read of reads) {
      read.close();
      copy.readBytes += read.readBytes;
    }
  }
}

/** The blob's bytes from an offset on, from whichever sources can give them. */
function openSource({ job, target, locations, suspects }: LargeCopy, from: number): StripedRead {
  return new StripedRead({
    locations,
    digest: job.digest,
    size: job.size,
    from,
    holders: job.sources.filter(source => source !== target.name),
    context: contextOf(job),
    onDamaged: location => suspects.add(location),
    budget: locations.readAhead,
    transient: true,
  });
}

/** Whether the target has the blob already, without a placement: hashed there, since nobody vouches for it. */
async function isThere({ job, target }: LargeCopy): Promise<boolean> {
  const context = contextOf(job);
  if ((await target.store.stat(job.digest, context)) !== job.size) return false;
  try {
    await target.store.verify(job.digest, context);
    return true;
  } catch (error) {
    if (error instanceof StatusError && (error.status === 'DATA_LOSS' || error.status === 'NOT_FOUND')) return false;
    throw error;
  }
}

/**
 * Which sources' copies are damaged: each that can be to blame is hashed where it is. `error` is what the copy failed
 * with, if it did. A source that cannot be asked is not accused.
 */
export async function findDamaged({ locations, job, target, suspects }: LargeCopy, error: unknown): Promise<string[]> {
  const sources = isSourceDamage(error) ? job.sources : [...suspects];
  const damaged: string[] = [];
  for (const source of locations.forReading(sources.filter(name => name !== target.name))) {
    try {
      if ((await source.store.verify(job.digest, contextOf(job))) !== job.size) damaged.push(source.name);
    } catch (failure) {
      if (failure instanceof StatusError && failure.status === 'DATA_LOSS') damaged.push(source.name);
    }
  }
  return damaged;
}

/** Whether a copy failed because of what its source gave. */
function isSourceDamage(error: unknown): boolean {
  if (error instanceof BlobUnavailable) return error.attempts.some(attempt => isSourceDamage(attempt.error));
  return hasReason(error, 'DIGEST_MISMATCH', 'CORRUPT');
}

function contextOf(job: HeldJob): StoreContext & { signal: AbortSignal } {
  if (job.signal.aborted) throw fail.cancelled();
  return { signal: job.signal, traceId: job.traceId, affinity: job.id };
}
