/**
 * Tells those who listen that images have arrived.
 *
 * Events stand in the database before anybody is told: who listens hears of them soon, and what could not be told (there
 * is no listener that takes it now, or this process dies) is told later, by this worker or by another. An event may be
 * told twice, and has an id by which to notice that.
 */
import type { Logger } from 'pino';
import type { Events, ReplicationEvent } from '../../lib/metadata/events.js';

/** Somebody to tell. */
export interface EventSink {
  /** Tells of one event. Answers whether it was taken; does not throw. */
  publish(event: ReplicationEvent): Promise<boolean>;
}

const EVERY_MS = 1_000;
const AT_ONCE = 100;
/** After an event was not taken. */
const PAUSE_MS = 5_000;

export interface EventPublisherOptions {
  readonly events: Events;
  /** The locations whose arrivals this worker tells first; those of others after they were left untold for a while. */
  readonly locations: readonly string[];
  readonly sink: EventSink;
  readonly log: Logger;
}

export class EventPublisher {
  readonly #options: EventPublisherOptions;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #pausedUntil = 0;
  #closed = false;

  constructor(options: EventPublisherOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      this.#running ??= this.#publishAll().finally(() => {
        this.#running = undefined;
      });
    }, EVERY_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closed = true;
    await this.#running;
  }

  async #publishAll(): Promise<void> {
    const { events, locations, log } = this.#options;
    try {
      while (!this.#closed && Date.now() >= this.#pausedUntil) {
        const taken = await events.take(locations, AT_ONCE);
        const told = await this.#publish(taken);
        if (told.length < taken.length) this.#pausedUntil = Date.now() + PAUSE_MS;
        if (told.length > 0) await events.published(told);
        if (taken.length < AT_ONCE) return;
      }
    } catch (error) {
      log.warn({ err: error }, 'cannot publish events, and tries again');
    }
  }

  /** All together: the listener may be far away. Answers those that were taken. */
  async #publish(events: readonly ReplicationEvent[]): Promise<ReplicationEvent[]> {
    const taken = await Promise.all(events.map(event => this.#options.sink.publish(event)));
    return events.filter((_event, n) => taken[n]);
  }
}
