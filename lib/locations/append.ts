/** Appending a client's bytes to an upload, so that the death of a node on the way stays unseen. */
import { setTimeout as sleep } from 'node:timers/promises';
import { hasReason, isTransient } from '../rpc/errors.js';
import type { Location } from './location.js';
import { type ReplayBudget, ReplaySource } from './replay.js';
import type { Checkpoint, StoreContext } from './store.js';

export interface AppendRequest {
  readonly location: Location;
  /** Where the upload is. */
  readonly start: Checkpoint;
  /** The bytes that follow; iterated once. */
  readonly source: AsyncIterable<Buffer>;
  /** Hears of each checkpoint. */
  readonly onCheckpoint: (checkpoint: Checkpoint) => void;
  readonly budget: ReplayBudget;
  readonly context: StoreContext;
}

/** For so long without progress, nodes that are away are waited for; most clients wait for about half a minute. */
const PATIENCE_MS = 15_000;
const PAUSE_MS = 250;

/**
 * Appends the source, and resolves to the checkpoint after its last byte. When a node fails, goes on from the last
 * checkpoint at another, or at the same one once it is back, with the bytes since then. Throws the source's own error as
 * it is, after a last checkpoint for what it gave.
 */
export async function appendUpload(request: AppendRequest): Promise<Checkpoint> {
  const { location, context } = request;
  const source = new ReplaySource(request.source, request.start.offset, request.budget);
  let last = request.start;
  let failingSince: number | undefined;
  const note = (checkpoint: Checkpoint) => {
    if (checkpoint.offset > last.offset) failingSince = undefined;
    last = checkpoint;
    source.release(checkpoint.offset);
    request.onCheckpoint(checkpoint);
  };
  try {
    while (true) {
      try {
        return await location.store.append(last.session, source.from(last.offset), note, context, last.offset);
      } catch (error) {
        const canGoOn = isTransient(error) && !hasReason(error, 'DISK_FULL') && source.has(last.offset);
        failingSince ??= Date.now();
        const isLate = Date.now() - failingSince > PATIENCE_MS;
        if (source.failedWith(error) || !canGoOn || isLate || context.signal?.aborted) throw error;
      }
      await sleep(PAUSE_MS * (0.5 + Math.random()), undefined, { signal: context.signal });
    }
  } finally {
    await source.close();
  }
}
