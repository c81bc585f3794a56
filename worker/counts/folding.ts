/**
 * Folds the rows in which the copies of each location are counted. Every statement that changes something adds some; their
 * sum is right whether they are folded or not, but takes longer the more there are.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Counts } from '../../lib/metadata/counts.js';
import type { Database } from '../../lib/metadata/database.js';

const EVERY_MS = 5_000;

export class CountFolding {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(db: Database, log: Logger) {
    this.#running = this.#run(new Counts(db), log);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(counts: Counts, log: Logger): Promise<void> {
    const { signal } = this.#stop;
    let failing = false;
    while (!signal.aborted) {
      try {
        while (!signal.aborted && (await counts.fold())) {}
        failing = false;
      } catch (error) {
        if (!failing) log.warn({ err: error }, 'cannot fold the counts of the locations, and tries again');
        failing = true;
      }
      // So that many workers do not all look at once.
      await sleep(EVERY_MS * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => {});
    }
  }
}
