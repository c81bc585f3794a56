/**
 * Beginning the copy of a blob that somebody waits for.
 *
 * Reading begins before the database has said whether this worker may copy the blob: the reader of a far region would
 * wait for two long ways, one after the other. At most the opening (crossing.ts) crosses in vain.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import { readBlob } from '../../lib/locations/read.js';
import type { ClaimOne } from '../../lib/metadata/replication.js';
import type { Crossing } from './crossing.js';
import type { Crossings, Way } from './crossings.js';

/** Makes copies; the replicator. */
export interface Copier {
  /** Makes this copy now if it is to be made and nobody else does. Resolves once it is over, or to why it was not begun. */
  copyAsked(way: Way): Promise<Exclude<ClaimOne, { kind: 'claimed' }> | undefined>;
}

export interface AskingOptions {
  readonly crossings: Crossings;
  readonly locations: Locations;
  readonly copier: Copier;
  /** Whether an address is this worker's own. */
  readonly isThisWorker: (address: string) => boolean;
  readonly log: Logger;
}

/** A blob that is asked for. */
export interface Asked extends Way {
  readonly size: number;
  /** The locations that have it, as the one who asks knows them. */
  readonly holders: readonly string[];
  readonly traceId: string | undefined;
}

/** Copies that run because somebody asked, beside the replicator's own. */
const ASKED_AT_ONCE = 16;

/** Another claim on the copy is just being made, or given up: looked at again a few times. */
const LOOKS = 4;
const LOOK_AGAIN_MS = 250;

export class Asking {
  readonly #options: AskingOptions;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  /** Begins the crossing of a blob that has none. Undefined if too many run. */
  begin(asked: Asked): Crossing | undefined {
    if (this.#running.size >= ASKED_AT_ONCE || this.#stop.signal.aborted) return undefined;
    const crossing = this.#options.crossings.expect(asked, asked.size);
    const running = this.#run(asked, crossing).finally(() => this.#running.delete(running));
    this.#running.add(running);
    return crossing;
  }

  /** Ends what was begun. The copies are the copier's: it is stopped first, or at the same time. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  async #run(asked: Asked, crossing: Crossing): Promise<void> {
    const { crossings, log } = this.#options;
    const { digest, target, traceId } = asked;
    const giveUp = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, giveUp.signal]);
    const opening = crossing.open(length => this.#readOpening(asked, length, signal));
    try {
      const answer = await this.#claim(asked, crossing);
      if (answer?.kind === 'busy') {
        giveUp.abort();
        crossings.settle(asked, crossing, { kind: 'elsewhere', worker: answer.worker });
      } else if (answer?.kind === 'stored') {
        giveUp.abort();
        crossings.settle(asked, crossing, { kind: 'stored' });
      } else if (answer) {
        // The opening is on its way already: whoever follows may have it.
        await opening;
        crossings.settle(asked, crossing, { kind: 'not-required' });
      }
    } catch (error) {
      log.warn({ err: error, digest, target, traceId }, 'a copy that was asked for could not be begun');
    } finally {
      // Unless it is a copy's, or has an end already.
      if (!crossing.isAdopted) crossings.settle(asked, crossing, { kind: 'failed' });
      await opening;
    }
  }

  /** Undefined once a copy has begun, or is over already: it settles the crossing then. */
  async #claim(asked: Asked, crossing: Crossing): Promise<Exclude<ClaimOne, { kind: 'claimed' }> | undefined> {
    const { isThisWorker, copier } = this.#options;
    for (let look = 1; ; look++) {
      const answer = await copier.copyAsked(asked);
      if (!answer || crossing.isAdopted) return undefined;
      const mayChange = answer.kind === 'busy' && (answer.worker === undefined || isThisWorker(answer.worker));
      if (!mayChange || look === LOOKS) return answer;
      await sleep(LOOK_AGAIN_MS, undefined, { signal: this.#stop.signal });
      if (crossing.isAdopted) return undefined;
    }
  }

  async #readOpening({ digest, size, holders, target, traceId }: Asked, length: number, signal: AbortSignal) {
    const { bytes } = await readBlob({
      locations: this.#options.locations,
      digest,
      size,
      holders: holders.filter(name => name !== target),
      range: { offset: 0, length },
      context: { signal, traceId },
    });
    return bytes;
  }
}
