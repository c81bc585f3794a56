/** Something that a worker does now, and then every so often, one at a time. Should it fail, it is told once, and done again. */
import type { Logger } from '../lib/telemetry/log.js';

export interface TidyingOptions {
  /** How often, about: so that many workers do not all do it at once. */
  readonly everyMs: number;
  /** Does it; the signal aborts when the worker ends. */
  readonly work: (signal: AbortSignal) => Promise<void>;
  /** What is said if it fails, for example `cannot look for expired uploads`. */
  readonly failure: string;
  readonly log: Logger;
}

export class Tidying {
  readonly #options: TidyingOptions;
  readonly #ending = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #failing = false;

  constructor(options: TidyingOptions) {
    this.#options = options;
    const begin = () => {
      this.#running ??= this.#once().finally(() => {
        this.#running = undefined;
      });
    };
    this.#timer = setInterval(begin, options.everyMs * (0.75 + Math.random() / 2));
    begin();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#ending.abort();
    await this.#running;
  }

  async #once(): Promise<void> {
    const { work, failure, log } = this.#options;
    const { signal } = this.#ending;
    if (signal.aborted) return;
    try {
      await work(signal);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) log.warn({ err: error }, `${failure}, and tries again`);
      this.#failing = true;
    }
  }
}
