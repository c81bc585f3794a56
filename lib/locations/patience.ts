/** Waiting for a location whose nodes are away for a moment, in the middle of something that a client sends only once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { hasReason, isTransient } from '../rpc/errors.js';

/** For so long without progress, nodes that are away are waited for; most clients wait for about half a minute. */
const PATIENCE_MS = 15_000;
const PAUSE_MS = 250;

export class Patience {
  #failingSince: number | undefined;

  /** It works again. */
  progress(): void {
    this.#failingSince = undefined;
  }

  /** Pauses after a failure before the next attempt; throws the failure itself if none could help any more. */
  async afterFailure(error: unknown, signal: AbortSignal | undefined): Promise<void> {
    this.#failingSince ??= Date.now();
    const isLate = Date.now() - this.#failingSince > PATIENCE_MS;
    if (!isTransient(error) || hasReason(error, 'DISK_FULL') || isLate || signal?.aborted) throw error;
    await sleep(PAUSE_MS * (0.5 + Math.random()), undefined, { signal });
  }
}
