/**
 * Bounds how many calls of a kind run at a time, and with it the memory that they hold. Calls beyond that wait their
 * turn for a while, and are then refused as BUSY: the caller goes to another node or location.
 */
import { fail } from '../../lib/rpc/errors.js';
import { throwIfAborted } from '../engines/abortable.js';

export interface GateOptions {
  /** What is bounded, for the error message. */
  readonly name: string;
  /** Calls that run at a time. */
  readonly limit: number;
  /** Calls that wait at a time. */
  readonly queue: number;
  /** How long each waits. */
  readonly waitMs: number;
}

export class Gate {
  readonly #options: GateOptions;
  #running = 0;
  readonly #waiting = new Set<() => void>();

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** How full it is now. */
  get state(): { name: string; running: number; waiting: number } {
    return { name: this.#options.name, running: this.#running, waiting: this.#waiting.size };
  }

  /** Runs `work` when it is its turn. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    if (this.#running < this.#options.limit) {
      this.#running++;
      return;
    }
    const { name, limit, queue, waitMs } = this.#options;
    if (this.#waiting.size >= queue) throw fail.busy(`${limit} ${name} are under way, and ${queue} more are waiting`);
    await new Promise<void>((resolve, reject) => {
      const stopWaiting = () => {
        this.#waiting.delete(admit);
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      // The one who leaves hands its place over: `#running` stays as it is.
      const admit = () => {
        stopWaiting();
        resolve();
      };
      const onAbort = () => {
        stopWaiting();
        reject(fail.cancelled());
      };
      const timer = setTimeout(() => {
        stopWaiting();
        reject(fail.busy(`${limit} ${name} are under way, and none ended within ${waitMs} ms`));
      }, waitMs);
      this.#waiting.add(admit);
      signal.addEventListener('abort', onAbort);
    });
  }

  #leave(): void {
    const [next] = this.#waiting;
    if (next) next();
    else this.#running--;
  }
}
