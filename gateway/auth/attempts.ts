/**
 * Failed sign-ins are limited, by whom they hit least who has nothing to do with them:
 *
 * - one name from one address: after a few failures, soon minutes. This is what ends guessing, and it locks out nobody else;
 * - one address, whatever names it tries: after many, since a whole office may come from one;
 * - one name, wherever from: only when very many addresses try it, only for seconds, and not for an address from which
 *   that name has signed in before: or whoever likes could lock out anybody.
 *
 * An attempt that is turned away is not counted.
 */
import { LRUCache } from 'lru-cache';
import type { FailurePolicy, Failures } from '../../lib/cache/failures.js';
import { networkOf } from './client-address.js';

const PAIR: FailurePolicy = { free: 5, firstMs: 1_000, mostMs: 5 * 60_000 };
const ADDRESS: FailurePolicy = { free: 50, firstMs: 1_000, mostMs: 5 * 60_000 };
const NAME: FailurePolicy = { free: 100, firstMs: 1_000, mostMs: 10_000 };

/** Where names have signed in from; so many of them are remembered, by each gateway for itself. */
const KNOWN_ORIGINS = 20_000;

export class Attempts {
  readonly #failures: Failures;
  readonly #known = new LRUCache<string, true>({ max: KNOWN_ORIGINS, ttl: 30 * 24 * 3_600_000 });

  constructor(failures: Failures) {
    this.#failures = failures;
  }

  /** How long the caller must wait before this name may be tried from this address, in milliseconds; 0: it may be. */
  async wait(name: string, address: string): Promise<number> {
    return this.#longest(name, address, await this.#failures.waits(keysOf(name, address)));
  }

  /** The same, as this process alone knows it: at once. */
  waitHere(name: string, address: string): number {
    return this.#longest(name, address, this.#failures.waitsHere(keysOf(name, address)));
  }

  async failed(name: string, address: string): Promise<void> {
    const [pair, network, who] = keysOf(name, address);
    await this.#failures.add([
      { key: pair, policy: PAIR },
      { key: network, policy: ADDRESS },
      { key: who, policy: NAME },
    ]);
  }

  async succeeded(name: string, address: string): Promise<void> {
    const [pair] = keysOf(name, address);
    this.#known.set(pair, true);
    await this.#failures.forget(pair);
  }

  #longest(name: string, address: string, [pair = 0, network = 0, who = 0]: readonly number[]): number {
    return Math.max(pair, network, this.#known.has(keysOf(name, address)[0]) ? 0 : who);
  }
}

function keysOf(name: string, address: string): [pair: string, network: string, name: string] {
  const network = networkOf(address);
  return [`pair ${network} ${name}`, `address ${network}`, `name ${name}`];
}
