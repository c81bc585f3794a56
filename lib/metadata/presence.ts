/**
 * Says in the database that this process lives, for as long as it does, and hears in the same round trip what the registry
 * takes now.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Mode } from './mode.js';
import type { Processes, ProcessRow } from './processes.js';

/** A change of the mode is in force everywhere within 5 seconds. */
const BEAT_MS = 2_500;
/** After it failed. */
const AGAIN_MS = 500;

export interface PresenceOptions {
  readonly processes: Processes;
  readonly self: ProcessRow;
  readonly log: Logger;
}

export class Presence {
  readonly #options: PresenceOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #mode: Mode;

  private constructor(options: PresenceOptions, mode: Mode) {
    this.#options = options;
    this.#mode = mode;
    this.#running = this.#run();
  }

  /** Resolves when the process is on record, and the mode is known: before that it must take nothing. */
  static async begin(options: PresenceOptions): Promise<Presence> {
    return new Presence(options, await options.processes.announce(options.self));
  }

  /** What the registry takes, as it was last heard: without the database nothing can be changed anyway. */
  get mode(): Mode {
    return this.#mode;
  }

  /** Takes this process off the record. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    const { processes, self, log } = this.#options;
    await processes.leave(self.id).catch(error => {
      log.warn({ err: error }, 'the end of this process could not be recorded, and will be noticed');
    });
  }

  async #run(): Promise<void> {
    const { processes, self, log } = this.#options;
    const { signal } = this.#stop;
    let failing = false;
    while (true) {
      await sleep(failing ? AGAIN_MS : BEAT_MS, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        this.#mode = await processes.announce(self);
        failing = false;
      } catch (error) {
        if (!failing) log.warn({ err: error }, 'cannot record that this process lives, and tries again');
        failing = true;
      }
    }
  }
}
