/** Appending a client's bytes to an upload, so that the death of a node on the way stays unseen. */
import type { Location } from './location.js';
import { Patience } from './patience.js';
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

/**
 * Appends the source, and resolves to the checkpoint after its last byte. When a node fails, goes on from the last
 * checkpoint at another, or at the same one once it is back, with the bytes since then. Throws the source's own error as
 * it is, after a last checkpoint for what it gave.
 */
export async function appendUpload(request: AppendRequest): Promise<Checkpoint> {
  const { location, context } = request;
  const source = new ReplaySource(request.source, request.start.offset, request.budget);
  const patience = new Patience();
  let last = request.start;
  const note = (checkpoint: Checkpoint) => {
    if (checkpoint.offset > last.offset) patience.progress();
    last = checkpoint;
    source.release(checkpoint.offset);
    request.onCheckpoint(checkpoint);
  };
  try {
    while (true) {
      try {
        return await location.store.append(last.session, source.from(last.offset), note, context, last.offset);
      } catch (error) {
        if (source.failedWith(error) || !source.has(last.offset)) throw error;
        await patience.afterFailure(error, context.signal);
      }
    }
  } finally {
    await source.close();
  }
}
