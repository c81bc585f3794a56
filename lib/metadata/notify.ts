/**
 * Wakes the workers when there is something to copy.
 *
 * Only a hint, sent after the commit and at most once in a while per process: inside the transaction NOTIFY makes
 * commits wait for each other. What is lost is found by the workers' polling.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from 'pino';
import { connectOnce, type Database } from './database.js';

const CHANNEL = 'entrepot_replication';
const AT_MOST_EVERY_MS = 100;

/** The sending side. */
export class ReplicationSignal {
  readonly #db: Database;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;
  #again = false;
  #sending: Promise<void> = Promise.resolve();

  constructor(db: Database, log: Logger) {
    this.#db = db;
    this.#log = log;
  }

  /** Says that something may have been queued. Never waits, never fails. */
  notify(): void {
    if (this.#timer) {
      this.#again = true;
      return;
    }
    this.#sending = this.#send();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#again) this.notify();
    }, AT_MOST_EVERY_MS).unref();
    this.#again = false;
  }

  async close(): Promise<void> {
    const waiting = this.#again;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#sending;
    if (waiting) await this.#send();
  }

  async #send(): Promise<void> {
    try {
      await this.#db.query(`notify ${CHANNEL}`);
    } catch (error) {
      this.#log.debug({ err: error }, 'workers were not told of new copies, and will find them by polling');
    }
  }
}

const RECONNECT_MS = { first: 500, most: 10_000 };

/** The receiving side: one connection of its own, which comes back when it breaks. */
export class ReplicationListener {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  /** Calls `onSignal` when something may have been queued, and after each time that the connection was away. */
  constructor(listenUrl: string, onSignal: () => void, log: Logger) {
    this.#running = this.#listen(listenUrl, onSignal, log);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #listen(listenUrl: string, onSignal: () => void, log: Logger): Promise<void> {
    const { signal } = this.#stop;
    let wait = RECONNECT_MS.first;
    while (!signal.aborted) {
      let client: pg.Client | undefined;
      try {
        client = await connectOnce(listenUrl, 'entrepot listen');
        client.on('notification', onSignal);
        await client.query(`listen ${CHANNEL}`);
        onSignal();
        wait = RECONNECT_MS.first;
        await untilEnd(client, signal);
      } catch (error) {
        log.warn({ err: error }, 'cannot listen for new copies, and polls until it can');
      } finally {
        await client?.end().catch(() => {});
      }
      await sleep(wait * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
      wait = Math.min(wait * 2, RECONNECT_MS.most);
    }
  }
}

function untilEnd(client: pg.Client, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const end = () => {
      signal.removeEventListener('abort', end);
      resolve();
    };
    client.once('end', end);
    client.once('error', end);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}
