/** Writes the newest of many checkpoints to the database: one write at a time, the next as soon as there is a newer one. */
import type { Checkpoint } from '../../lib/locations/store.js';

export class CheckpointKeeper {
  readonly #save: (checkpoint: Checkpoint) => Promise<boolean>;
  readonly #onSaved: (offset: number) => void;
  #newest: Checkpoint | undefined;
  #saving: Promise<void> | undefined;

  /** `save` answers false if the claim is lost. `onSaved` hears how far a crash can no longer throw the copy back. */
  constructor(save: (checkpoint: Checkpoint) => Promise<boolean>, onSaved: (offset: number) => void) {
    this.#save = save;
    this.#onSaved = onSaved;
  }

  /** Takes note of a checkpoint, and saves it unless a newer one comes before its turn does. */
  note(checkpoint: Checkpoint): void {
    this.#newest = checkpoint;
    this.#saving ??= this.#saveAll();
  }

  /** Resolves when the last one is saved. Never throws: a checkpoint that is lost costs time, not bytes. */
  async close(): Promise<void> {
    await this.#saving;
    if (this.#newest) await this.#saveAll();
  }

  async #saveAll(): Promise<void> {
    while (this.#newest) {
      const checkpoint = this.#newest;
      this.#newest = undefined;
      try {
        if (await this.#save(checkpoint)) this.#onSaved(checkpoint.offset);
      } catch {
        // The next checkpoint is the next try.
        this.#newest ??= checkpoint;
        break;
      }
    }
    this.#saving = undefined;
  }
}
