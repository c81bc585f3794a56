/**
 * Finds images that became whole unseen, and forgets events that are old.
 *
 * An image's event is made by whoever commits last: its push, or the last of its copies. Two that commit at the same
 * moment do not see each other; therefore images that began to wait not long ago are looked at again every few seconds,
 * and all of them now and then.
 */
import type { Logger } from 'pino';
import type { Events } from '../../lib/metadata/events.js';
import { Tidying } from '../tidying.js';

const EVERY_MS = 5_000;
/** Far longer than a statement may take: each is looked at at least once after its push was committed. */
const YOUNG_SECONDS = 120;
const ALL_EVERY_MS = 10 * 60_000;
const AT_ONCE = 100;
const KEPT_DAYS = 30;

export class EventSweep {
  readonly #events: Events;
  readonly #tidyings: readonly Tidying[];

  constructor(events: Events, log: Logger) {
    this.#events = events;
    const failure = 'cannot look for images that have arrived';
    this.#tidyings = [
      new Tidying({ everyMs: EVERY_MS, work: signal => this.#sweep(signal, YOUNG_SECONDS), failure, log }),
      new Tidying({ everyMs: ALL_EVERY_MS, work: signal => this.#everything(signal), failure, log }),
    ];
  }

  async close(): Promise<void> {
    await Promise.all(this.#tidyings.map(each => each.close()));
  }

  async #everything(signal: AbortSignal): Promise<void> {
    await this.#sweep(signal);
    await this.#events.forget(KEPT_DAYS);
  }

  async #sweep(signal: AbortSignal, seconds?: number): Promise<void> {
    let at: number | undefined = 0;
    while (at !== undefined && !signal.aborted) at = await this.#events.sweep(at, AT_ONCE, seconds);
  }
}
