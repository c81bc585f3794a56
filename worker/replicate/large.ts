/**
 * Copies one large blob, so that it can go on after any crash.
 *
 * The target's checkpoints are kept in the job's row: whichever worker takes it next begins there, or at a later one if
 * the target's node remembers one. So reading ahead need not wait for the database, which may be far away. The digest is
 * known from the start, and the target verifies it before the blob becomes visible. The source may change in the middle
 * of the blob (lib/locations/read.ts).
 */
import type { Location } from '../../lib/locations/location.js';
import type { Locations } from '../../lib/locations/locations.js';
import { BlobUnavailable } from '../../lib/locations/read.js';
import type { Checkpoint, StoreContext } from '../../lib/locations/store.js';
import { SEGMENT_BYTES, StripedRead } from '../../lib/locations/striped.js';
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

/**
 * How far the target may be beyond what is on record. That is what crosses twice beside the rest if a worker and the
 * target's node die at once. At 1 Gbit/s, 80 ms from the database, it is about 13 MiB.
 */
const MOST_BEYOND_RECORD = 2 * SEGMENT_BYTES;

/** A target that does not answer is left to its sweep: a worker that is to stop, or to try elsewhere, waits no longer. */
const GIVE_UP_MS = 2_000;

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
      return await copyFrom(copy, await target.store.newestCheckpoint(job.checkpoint, contextOf(job)));
    } catch (error) {
      // The upload was collected, or committed by a worker that died before it could say so.
      if (!hasReason(error, 'UPLOAD_UNKNOWN', 'OFFSET', 'MALFORMED')) throw error;
    }
  }
  if (await isThere(copy)) return;
  await copyFromStart(copy);
}

async function copyFromStart(copy: LargeCopy): Promise<void> {
  const { job, target } = copy;
  const begun = await target.store.begin({ digest: job.digest }, contextOf(job));
  let hasCheckpoint = false;
  try {
    await copyFrom(copy, begun, () => {
      hasCheckpoint = true;
    });
  } catch (error) {
    // Nobody can go on with it: each try would leave something behind. Also where the job is not ours any more.
    const signal = AbortSignal.timeout(GIVE_UP_MS);
    if (!hasCheckpoint) await target.store.abort(begun.session, { traceId: job.traceId, signal }).catch(() => {});
    throw error;
  }
}

async function copyFrom(copy: LargeCopy, start: Checkpoint, onCheckpoint?: () => void): Promise<void> {
  const { job, target } = copy;
  const context = contextOf(job);
  const last = start.offset < job.size ? await append(copy, start, onCheckpoint) : { checkpoint: start };
  try {
    await target.store.commit(last.checkpoint.session, job.digest, context);
  } catch (error) {
    await last.keeping;
    // Nothing can come of it. If it stays, since we die here, the next try finds the same, and comes here again.
    if (hasReason(error, 'DIGEST_MISMATCH')) await target.store.abort(last.checkpoint.session, context).catch(() => {});
    throw error;
  }
}

/** What an append has come to; `keeping` resolves once that is on record. */
interface Appended {
  readonly checkpoint: Checkpoint;
  readonly keeping?: Promise<void>;
}

/** Appends what is missing. The last checkpoints may still be on their way to the database: a commit need not wait for it. */
async function append(copy: LargeCopy, start: Checkpoint, onCheckpoint?: () => void): Promise<Appended> {
  const { job, target, throttle, crossing } = copy;
  const context = contextOf(job);
  const reads: StripedRead[] = [];
  const open = async (offset: number) => {
    const read = openSource(copy, offset);
    reads.push(read);
    return read.bytes();
  };
  const keeping = keepCheckpoints(copy, start, offset => {
    for (const read of reads) read.kept(offset);
  });
  try {
    const checkpoint = await target.store.append(
      start.session,
      throttle.meter(crossing.through(start.offset, open), context.signal, () => crossing.isFollowed),
      checkpoint => {
        onCheckpoint?.();
        keeping.note(checkpoint);
      },
      context,
      start.offset,
    );
    return { checkpoint, keeping: keeping.close() };
  } catch (error) {
    await keeping.close();
    throw error;
  } finally {
    for (const read of reads) {
      read.close();
      copy.readBytes += read.readBytes;
    }
  }
}

/** Has the target's checkpoints recorded. `onKept` hears how far a crash can no longer throw the copy back. */
function keepCheckpoints({ job, replication }: LargeCopy, start: Checkpoint, onKept: (offset: number) => void) {
  let atTarget = start.offset;
  let onRecord = Math.min(start.offset, job.checkpoint?.offset ?? 0);
  const tell = () => onKept(Math.min(atTarget, onRecord + MOST_BEYOND_RECORD));
  const keeper = new CheckpointKeeper(
    (checkpoint, first) => replication.checkpoint(job, checkpoint, first),
    offset => {
      onRecord = Math.max(onRecord, offset);
      tell();
    },
  );
  const note = (checkpoint: Checkpoint) => {
    atTarget = checkpoint.offset;
    keeper.note(checkpoint);
    tell();
  };
  return { note, close: () => keeper.close() };
}

/** The blob's bytes from an offset on, from whichever sources can give them. */
function openSource({ job, target, locations, suspects, crossing }: LargeCopy, from: number): StripedRead {
  return new StripedRead({
    locations,
    digest: job.digest,
    size: job.size,
    from,
    holders: job.sources.filter(source => source !== target.name),
    context: contextOf(job),
    onDamaged: location => suspects.add(location),
    budget: locations.readAhead,
    keptBeside: () => crossing.keptBytes,
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
