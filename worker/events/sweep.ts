/**
 * Finds images that became whole unseen, and forgets events that are old.
 *
 * An image's event is made by whoever commits last: its push, or the last of its copies. Two that commit at the same
 * moment do not see each other; therefore images that began to wait not long ago are looked at again every few seconds,
 * and all of them now and then.
 */
import type { Logger } from 'pino';
import type { Events } from '../../lib/metadata/events.js';

const EVERY_MS = 5_000;
/** Far longer than a statement may take: each is looked at at least once after its push was committed. */
const YOUNG_SECONDS = 120;
const ALL_EVERY_MS = 10 * 60_000;
const AT_ONCE = 100;
const KEPT_DAYS = 30;

export class EventSweep {
  readonly #events: Events;
  readonly #log: Logger;
  readonly #timers: readonly NodeJS.Timeout[];
  #running: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(events: Events, log: Logger) {
    this.#events = events;
    this.#log = log;
    this.#timers = [
      setInterval(() => this.#begin(() => this.#sweep(YOUNG_SECONDS)), jittered(EVERY_MS)),
      setInterval(() => this.#begin(() => this.#everything()), jittered(ALL_EVERY_MS)),
    ];
    this.#begin(() => this.#everything());
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#closed = true;
    await this.#running;
  }

  /** One at a time. */
  #begin(work: () => Promise<void>): void {
    this.#running = this.#running.then(work).catch(error => {
      this.#log.warn({ err: error }, 'cannot look for images that have arrived, and tries again');
    });
  }

  async #everything(): Promise<void> {
    await this.#sweep();
    await this.#events.forget(KEPT_DAYS);
  }

  async #sweep(seconds?: number): Promise<void> {
    let at: number | undefined = 0;
    while (at !== undefined && !this.#closed) at = await this.#events.sweep(at, AT_ONCE, seconds);
  }
}

/** So that many workers do not all look at once. */
function jittered(ms: number): number {
  return ms * (0.75 + Math.random() / 2);
}
