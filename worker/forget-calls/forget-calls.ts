/** Forgets the numbers of calls that nobody sends again any more (lib/metadata/applied-calls.ts). */
import type { AppliedCalls } from '../../lib/metadata/applied-calls.js';
import type { Logger } from '../../lib/telemetry/log.js';

const EVERY_MS = 10 * 60_000;

export class CallForgetting {
  readonly #calls: AppliedCalls;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> = Promise.resolve();

  constructor(calls: AppliedCalls, log: Logger) {
    this.#calls = calls;
    this.#log = log;
    const begin = () => {
      this.#running = this.#running.then(() => this.#forget());
    };
    this.#timer = setInterval(begin, EVERY_MS * (0.75 + Math.random() / 2));
    begin();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async #forget(): Promise<void> {
    try {
      await this.#calls.forget();
    } catch (error) {
      this.#log.warn({ err: error }, 'cannot forget the numbers of old calls, and tries again');
    }
  }
}
