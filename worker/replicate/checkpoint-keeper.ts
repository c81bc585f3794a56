/**
 * Writes the newest of many checkpoints to the database, which may be far away: some writes are on their way at a time,
 * so that what a crash would cost does not grow with the time that one takes.
 *
 * They may arrive in another order. The database keeps the one that is furthest, except that the first one always counts,
 * since it may be the first of another session: so the others wait for that.
 */
import type { Checkpoint } from '../../lib/locations/store.js';

/** Writes at a time: over 80 ms one begins every 30 ms, which 1 Gbit/s takes for 4 MiB. */
const MOST_WRITES = 3;

/** Answers false if the claim is lost. `first`: it counts whatever is on record. */
export type SaveCheckpoint = (checkpoint: Checkpoint, first: boolean) => Promise<boolean>;

export class CheckpointKeeper {
  readonly #save: SaveCheckpoint;
  readonly #onSaved: (offset: number) => void;
  readonly #saving = new Set<Promise<void>>();
  #newest: Checkpoint | undefined;
  #hasFirst = false;

  /** `onSaved` hears of each that is on record. */
  constructor(save: SaveCheckpoint, onSaved: (offset: number) => void) {
    this.#save = save;
    this.#onSaved = onSaved;
  }

  /** Takes note of a checkpoint, and saves it unless a newer one comes before its turn does. */
  note(checkpoint: Checkpoint): void {
    this.#newest = checkpoint;
    this.#start();
  }

  /** Resolves when the last one is saved. Never throws: a checkpoint that is lost costs time, not bytes. */
  async close(): Promise<void> {
    while (this.#saving.size > 0) await Promise.all(this.#saving);
    this.#start();
    while (this.#saving.size > 0) await Promise.all(this.#saving);
  }

  #start(): void {
    if (!this.#newest || this.#saving.size >= (this.#hasFirst ? MOST_WRITES : 1)) return;
    const checkpoint = this.#newest;
    this.#newest = undefined;
    const saving = this.#saveOne(checkpoint).then(saved => {
      this.#saving.delete(saving);
      // One that failed is no try less for the next: that is made when the next checkpoint comes.
      if (saved) this.#start();
      else if (!this.#newest || this.#newest.offset < checkpoint.offset) this.#newest = checkpoint;
    });
    this.#saving.add(saving);
  }

  /** Answers false if it failed. */
  async #saveOne(checkpoint: Checkpoint): Promise<boolean> {
    try {
      if (await this.#save(checkpoint, !this.#hasFirst)) {
        this.#hasFirst = true;
        this.#onSaved(checkpoint.offset);
      }
      return true;
    } catch {
      return false;
    }
  }
}
