/** Writes the newest of many checkpoints to the database now and then: one write at a time, the last one always. */
import type { Checkpoint } from '../../lib/locations/store.js';

/** A copy that is cut off repeats at most what came in this time. */
const SAVE_EVERY_MS = 2_000;

export class CheckpointKeeper {
  readonly #save: (checkpoint: Checkpoint) => Promise<boolean>;
  #newest: Checkpoint | undefined;
  #saving: Promise<void> | undefined;
  #savedAt = Date.now();

  constructor(save: (checkpoint: Checkpoint) => Promise<boolean>) {
    this.#save = save;
  }

  /** Takes note of a checkpoint; saves it if the last one was saved a while ago. */
  note(checkpoint: Checkpoint): void {
    this.#newest = checkpoint;
    if (!this.#saving && Date.now() - this.#savedAt >= SAVE_EVERY_MS) this.#saving = this.#saveNewest();
  }

  /** Saves what is not saved yet. Never throws: a checkpoint that is lost costs time, not bytes. */
  async close(): Promise<void> {
    await this.#saving;
    await this.#saveNewest();
  }

  async #saveNewest(): Promise<void> {
    const checkpoint = this.#newest;
    this.#newest = undefined;
    try {
      if (checkpoint) await this.#save(checkpoint);
    } catch {
      this.#newest ??= checkpoint;
    } finally {
      this.#savedAt = Date.now();
      this.#saving = undefined;
    }
  }
}
