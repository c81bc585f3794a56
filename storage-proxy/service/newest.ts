/**
 * The newest checkpoints that this process has given out, by upload.
 *
 * A caller writes its checkpoints down in a database that may be far away, so what it has written down lags behind. If it
 * dies, whoever goes on with its upload asks for the newest one. They are a memory only: a node that was restarted knows
 * none, and what a caller has written down is as good, except that some bytes come twice.
 */
import { LRUCache } from 'lru-cache';
import type { Checkpoint } from '../engines/engine.js';

/** A session has some hundred bytes, or some thousand where a bucket has many parts of it. */
const REMEMBERED_BYTES = 16 * 1024 * 1024;
const ENTRY_BYTES = 200;

export class NewestCheckpoints {
  readonly #newest = new LRUCache<string, Checkpoint>({
    maxSize: REMEMBERED_BYTES,
    sizeCalculation: ({ session }) => session.length + ENTRY_BYTES,
  });

  /** One was given out. One that is further is still good: each session stands for its own bytes, whoever wrote them. */
  note(upload: string, checkpoint: Checkpoint): void {
    if (checkpoint.offset > (this.#newest.peek(upload)?.offset ?? 0)) this.#newest.set(upload, checkpoint);
  }

  /** The newest one: `known`, or one that is further. */
  of(upload: string, known: Checkpoint): Checkpoint {
    const newest = this.#newest.get(upload);
    return newest && newest.offset > known.offset ? newest : known;
  }

  /** The upload is over. */
  forget(upload: string): void {
    this.#newest.delete(upload);
  }
}
