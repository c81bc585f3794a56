/** Removes uploads that nobody went on with, and what killed processes left behind. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Engine, Session } from '../engines/engine.js';

const HOUR_MS = 3_600_000;

/** Workers end an upload first, since they can tell its callers; what is left a day later belongs to nobody. */
const MARGIN_MS = 24 * HOUR_MS;

/** Sweeps once an hour, the first time within the first minutes; nodes of one location spread by chance. */
export class Sweep {
  readonly #engine: Engine;
  readonly #staleMs: number;
  readonly #log: Logger;
  readonly #stop = new AbortController();

  /** `expiryMinutes`: when the workers end an upload that nobody goes on with. */
  constructor(engine: Engine, expiryMinutes: number, log: Logger) {
    this.#engine = engine;
    this.#staleMs = expiryMinutes * 60_000 + MARGIN_MS;
    this.#log = log;
  }

  start(): void {
    void this.#repeat();
  }

  stop(): void {
    this.#stop.abort();
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#stop;
    let pause = (HOUR_MS / 10) * Math.random();
    while (!signal.aborted) {
      await sleep(pause, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      await sweepOnce(this.#engine, this.#log, Date.now() - this.#staleMs, signal);
      pause = HOUR_MS * (0.75 + Math.random() / 2);
    }
  }
}

/** Removes uploads last written to before `before` (milliseconds since 1970). Failures are logged: the next sweep tries again. */
export async function sweepOnce(engine: Engine, log: Logger, before: number, signal: AbortSignal): Promise<void> {
  let removed = 0;
  const remove = async (session: Session) => {
    try {
      await engine.abort(session, signal);
      return true;
    } catch (error) {
      if (signal.aborted) throw error;
      log.warn({ err: error }, 'cannot remove a stale upload now');
      return false;
    }
  };
  try {
    for await (const { session } of engine.staleUploads(before, signal)) {
      // One that cannot be removed must not keep those after it.
      if (await remove(session)) removed++;
    }
  } catch (error) {
    if (!signal.aborted) log.warn({ err: error }, 'cannot remove stale uploads now');
  }
  if (removed > 0) log.info({ removed }, 'removed stale uploads');
}
