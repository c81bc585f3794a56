/**
 * The node's own look at its store: every 10 seconds it writes, reads back and deletes something, and tells the result
 * as the node's health. Callers never trigger it, and believe it instead of finding out by their own failures.
 *
 * A store whose identity changes while we run (a disk that came loose from its mount point, another bucket under the
 * old name) must not be used: what is recorded to be there is elsewhere. Only a restart, by somebody who knows, ends that.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { fail } from '../../lib/rpc/errors.js';
import type { Engine, Probe } from '../engines/engine.js';

/** The names of grpc.health.v1 under which the node tells what its store can do. */
export const HEALTH = { read: 'entrepot.storage.read', write: 'entrepot.storage.write' } as const;

const INTERVAL_MS = 10_000;

/** A store that takes longer to answer is as good as gone. Long, because a sync waits for everybody's writes. */
const PROBE_MS = 20_000;

export interface CanaryOptions {
  readonly engine: Engine;
  /** Hears, at each look, whether the store can be used for that. */
  readonly setHealth: (need: keyof typeof HEALTH, serving: boolean) => void;
  readonly log: Logger;
}

export class Canary {
  readonly #options: CanaryOptions;
  readonly #stop = new AbortController();
  #identity: string | undefined;
  #exchanged = false;
  #told = '';

  constructor(options: CanaryOptions) {
    this.#options = options;
  }

  /** Begins to probe; resolves after the first probe. */
  async start(): Promise<void> {
    await this.#probe();
    void this.#repeat();
  }

  /** From here on nothing is told any more. */
  stop(): void {
    this.#stop.abort();
  }

  /** The store's identity. Throws while it is not known, and once it has changed. */
  identity(): string {
    if (this.#exchanged) throw fail.storeUnreachable('the store behind this node was exchanged while it was running');
    if (!this.#identity) throw fail.storeUnreachable('the store behind this node could not be reached yet');
    return this.#identity;
  }

  async #repeat(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(INTERVAL_MS, undefined, { signal }).catch(() => {});
      if (!signal.aborted) await this.#probe();
    }
  }

  /** Probes once. A probe that hangs is reported and then waited for: a second one beside it would hang as well. */
  async #probe(): Promise<void> {
    const { engine } = this.#options;
    const late = setTimeout(() => {
      const error = fail.storeUnreachable(`the store did not answer within ${PROBE_MS} ms`);
      this.#tell({ locationId: this.#identity, readError: error, writeError: error });
    }, PROBE_MS);
    try {
      this.#tell(await engine.probe(this.#stop.signal));
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      this.#tell({ locationId: this.#identity, readError: failure, writeError: failure });
    } finally {
      clearTimeout(late);
    }
  }

  #tell({ locationId, readError, writeError }: Probe): void {
    if (this.#stop.signal.aborted) return;
    const { setHealth, log } = this.#options;
    this.#identity ??= locationId;
    if (locationId && locationId !== this.#identity) {
      this.#exchanged = true;
      const identities = { was: this.#identity, is: locationId };
      log.error(identities, 'THE STORE WAS EXCHANGED for another; nothing is served until this process is restarted');
    }
    const usable = locationId !== undefined && !this.#exchanged;
    setHealth('read', usable && !readError);
    setHealth('write', usable && !writeError);
    this.#report(readError, writeError);
  }

  /** Logs what has changed since it was last said. */
  #report(readError: Error | undefined, writeError: Error | undefined): void {
    const { log } = this.#options;
    const error = readError ?? writeError;
    const message = error ? `the store cannot be ${readError ? 'read' : 'written to'}: ${error.message}` : '';
    if (message === this.#told) return;
    if (error) log.error({ err: error }, message);
    else if (this.#told) log.info('the store works again');
    this.#told = message;
  }
}
