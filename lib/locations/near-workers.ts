/** The workers of this region that live, as a gateway knows them: who they are, and which one a blob belongs to. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { CrossingClient } from '../../proto/generated/entrepot/crossing/v1/Crossing.js';
import { channelOptions, NEAR_WINDOW } from '../rpc/channel.js';
import { CrossingStub } from '../rpc/proto.js';
import type { Renewed } from '../rpc/renewed.js';
import { Security } from '../rpc/security.js';
import { rendezvous } from './rendezvous.js';

export interface NearWorkersOptions {
  /** Asks for the addresses (`host:port`) of the workers that live now. */
  readonly addresses: () => Promise<readonly string[]>;
  /** How they are reached; plain text on this machine only if absent. */
  readonly security?: Security;
  readonly log: Logger;
}

export interface NearWorker {
  readonly address: string;
  /** For a call that begins now. */
  readonly stub: CrossingClient;
}

class KnownWorker implements NearWorker {
  readonly address: string;
  readonly #connection: Renewed<CrossingClient>;

  constructor(address: string, connection: Renewed<CrossingClient>) {
    this.address = address;
    this.#connection = connection;
  }

  get stub(): CrossingClient {
    return this.#connection.client;
  }

  close(): void {
    this.#connection.close();
  }
}

/** What is older than this is asked for again, while it is used: no reader waits for the database if any worker is known. */
const FRESH_MS = 3_000;
/** The database may be away; reads go on without a worker that is not known then. */
const WAIT_MS = 500;
/**
 * A worker that did not answer is not asked again for so long. It may only be short of processor time: what it copies goes
 * on meanwhile, and readers come back to it.
 */
const AVOID_MS = 5_000;

export class NearWorkers {
  readonly #options: NearWorkersOptions;
  #known = new Map<string, KnownWorker>();
  #askedAt = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;
  readonly #avoided = new Map<string, number>();
  readonly #refused = new Set<string>();
  #closed = false;

  constructor(options: NearWorkersOptions) {
    this.#options = options;
    this.#asking = this.#ask();
  }

  /** The worker that all gateways of the region ask about `word`; undefined if there is none. Never throws. */
  async choose(word: string): Promise<NearWorker | undefined> {
    const age = performance.now() - this.#askedAt;
    if (age > FRESH_MS) void this.#askOnce();
    if (this.#known.size === 0) await atMost(WAIT_MS, this.#asking);
    const workers = [...this.#known.values()].filter(worker => !this.#isAvoided(worker.address));
    return rendezvous(word, workers, worker => worker.address)[0];
  }

  /**
   * The worker at an address that another one has named; undefined if none that lives is there. One that is not known may
   * have begun a moment ago: it is asked for. Never throws.
   */
  async at(address: string): Promise<NearWorker | undefined> {
    if (this.#isAvoided(address)) return undefined;
    if (!this.#known.has(address)) {
      // Who asks already may have begun before the worker did.
      const asking = this.#asking?.then(() => this.#askOnce()) ?? this.#askOnce();
      await atMost(WAIT_MS, asking);
    }
    return this.#known.get(address);
  }

  /** Whether one that is not asked now may be asked again soon. */
  get mayBeBack(): boolean {
    return [...this.#known.keys()].some(address => this.#isAvoided(address));
  }

  /** The worker did not answer. */
  avoid({ address }: NearWorker): void {
    this.#avoided.set(address, performance.now() + AVOID_MS);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#asking;
    for (const worker of this.#known.values()) worker.close();
  }

  #isAvoided(address: string): boolean {
    const until = this.#avoided.get(address);
    if (until === undefined) return false;
    if (until > performance.now()) return true;
    this.#avoided.delete(address);
    return false;
  }

  /** Resolves when who lives is known, as it is now or later. */
  #askOnce(): Promise<void> {
    this.#asking ??= this.#ask();
    return this.#asking;
  }

  async #ask(): Promise<void> {
    try {
      const addresses = await this.#options.addresses();
      if (this.#closed) return;
      const workers = addresses.flatMap(address => this.#known.get(address) ?? this.#open(address) ?? []);
      const known = new Map(workers.map(worker => [worker.address, worker]));
      for (const worker of this.#known.values()) if (!known.has(worker.address)) worker.close();
      this.#known = known;
    } catch (error) {
      this.#options.log.debug({ err: error }, 'which workers live is not known; the last ones that did are used');
    } finally {
      this.#askedAt = performance.now();
      this.#asking = undefined;
    }
  }

  /** Undefined if there is no allowed way to reach the worker. */
  #open(address: string): KnownWorker | undefined {
    const { security = Security.local, log } = this.#options;
    try {
      return new KnownWorker(address, security.renewed(CrossingStub, address, 'worker', channelOptions(NEAR_WINDOW)));
    } catch (error) {
      if (!this.#refused.has(address))
        log.warn({ worker: address, err: error }, 'a worker of this region is not asked');
      this.#refused.add(address);
      return undefined;
    }
  }
}

async function atMost(ms: number, promise: Promise<void> | undefined): Promise<void> {
  await Promise.race([promise, sleep(ms, undefined, { ref: false })]);
}
