/**
 * Queues the difference after where blobs must be has changed: for a new location, for one that is left out from now on,
 * for a namespace's own, or because replication is switched on again. The change itself left a row that says so; any
 * worker goes on with it, a piece at a time.
 */
import type { Logger } from 'pino';
import type { Requeue } from '../../lib/metadata/requeue.js';
import { Wake } from '../replicate/wake.js';

const POLL_MS = 5_000;

export interface RequeuingOptions {
  readonly requeue: Requeue;
  /** FEATURE_STORAGE_REPLICATION. */
  readonly replicate: boolean;
  /** Called when something may have been queued. */
  readonly onQueued: () => void;
  /** For tests; in milliseconds. */
  readonly pollMs?: number;
  readonly log: Logger;
}

export class Requeuing {
  readonly #options: RequeuingOptions;
  readonly #wake = new Wake();
  readonly #loop: Promise<void>;
  #closed = false;

  constructor(options: RequeuingOptions) {
    this.#options = options;
    this.#loop = this.#run();
  }

  /** Where blobs must be may have changed. */
  wake(): void {
    this.#wake.now();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake.now();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#queueAll();
      } catch (error) {
        this.#options.log.warn({ err: error }, 'cannot queue what a change of locations made necessary; tries again');
      }
      if (!this.#closed) await this.#wake.within(this.#options.pollMs ?? POLL_MS);
    }
  }

  async #queueAll(): Promise<void> {
    const { requeue, replicate } = this.#options;
    if (replicate) await requeue.closeGap();
    while (!this.#closed && (await requeue.some())) this.#options.onQueued();
  }
}
