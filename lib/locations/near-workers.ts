/** The workers of this region that live, as a gateway knows them: who they are, and which one a blob belongs to. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { CrossingClient } from '../../proto/generated/entrepot/crossing/v1/Crossing.js';
import { channelCredentials, channelOptions, NEAR_WINDOW } from '../rpc/channel.js';
import { CrossingStub } from '../rpc/proto.js';
import { rendezvous } from './rendezvous.js';

export interface NearWorkersOptions {
  /** Asks for the addresses (`host:port`) of the workers that live now. */
  readonly addresses: () => Promise<readonly string[]>;
  readonly log: Logger;
}

export interface NearWorker {
  readonly address: string;
  readonly stub: CrossingClient;
}

/** What is older than this is asked for again, while it is used: no reader waits for the database if any worker is known. */
const FRESH_MS = 3_000;
/** The database may be away; reads go on without workers then. */
const WAIT_MS = 500;
/** A worker that did not answer is not asked again for so long. */
const AVOID_MS = 5_000;

export class NearWorkers {
  readonly #options: NearWorkersOptions;
  #known = new Map<string, NearWorker>();
  #askedAt = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;
  readonly #avoided = new Map<string, number>();
  #closed = false;

  constructor(options: NearWorkersOptions) {
    this.#options = options;
    this.#asking = this.#ask();
  }

  /** The worker that all gateways of the region ask about `word`; undefined if there is none. Never throws. */
  async choose(word: string): Promise<NearWorker | undefined> {
    const age = performance.now() - this.#askedAt;
    if (age > FRESH_MS) this.#asking ??= this.#ask();
    if (this.#known.size === 0) await Promise.race([this.#asking, sleep(WAIT_MS, undefined, { ref: false })]);
    const workers = [...this.#known.values()].filter(worker => !this.#isAvoided(worker.address));
    return rendezvous(word, workers, worker => worker.address)[0];
  }

  /** The worker at an address; undefined if none that lives is known there. */
  at(address: string): NearWorker | undefined {
    return this.#isAvoided(address) ? undefined : this.#known.get(address);
  }

  /** The worker did not answer. */
  avoid({ address }: NearWorker): void {
    this.#avoided.set(address, performance.now() + AVOID_MS);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#asking;
    for (const { stub } of this.#known.values()) stub.close();
  }

  #isAvoided(address: string): boolean {
    const until = this.#avoided.get(address);
    if (until === undefined) return false;
    if (until > performance.now()) return true;
    this.#avoided.delete(address);
    return false;
  }

  async #ask(): Promise<void> {
    try {
      const addresses = await this.#options.addresses();
      if (this.#closed) return;
      const known = new Map(addresses.map(address => [address, this.#known.get(address) ?? open(address)]));
      for (const { address, stub } of this.#known.values()) if (!known.has(address)) stub.close();
      this.#known = known;
    } catch (error) {
      this.#options.log.debug({ err: error }, 'which workers live is not known; the last ones that did are used');
    } finally {
      this.#askedAt = performance.now();
      this.#asking = undefined;
    }
  }
}

function open(address: string): NearWorker {
  return { address, stub: new CrossingStub(address, channelCredentials(), channelOptions(NEAR_WINDOW)) };
}
