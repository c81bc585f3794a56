/**
 * Counts failures, and says how long to wait after too many: in Redis, for the gateways of a region together, and in this
 * process, which is what counts while Redis is away. The longer of the two waits is the one.
 *
 * The wait doubles with each failure beyond those that are free, up to a limit. A count is forgotten when there was no
 * failure for a while. Memory is bounded: here by the number of counts, in Redis by their short life.
 */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { RedisCache } from './redis.js';

export interface FailurePolicy {
  /** So many failures cost nothing. */
  readonly free: number;
  /** The wait after the first one beyond, and the longest, in milliseconds. */
  readonly firstMs: number;
  readonly mostMs: number;
}

/** Something whose failures are counted: an address, a name. */
export interface Counted {
  readonly key: string;
  readonly policy: FailurePolicy;
}

interface Count {
  failures: number;
  /** In the time of `performance.now()`, which no change of the clock moves. */
  until: number;
}

const FORGOTTEN_AFTER_MS = 15 * 60_000;
const MOST_COUNTS = 20_000;

/** For each key: how much longer to wait, in milliseconds. */
const WAITS = `
local waits = {}
for i, key in ipairs(KEYS) do waits[i] = redis.call('pttl', key .. ':wait') end
return waits`;

/** For each key one failure more; ARGV: when to forget, then free, first and most wait of each key. */
const FAIL = `
for i, key in ipairs(KEYS) do
  local failures = redis.call('incr', key)
  redis.call('pexpire', key, ARGV[1])
  local beyond = failures - tonumber(ARGV[i * 3 - 1])
  if beyond > 0 then
    local wait = math.min(tonumber(ARGV[i * 3]) * 2 ^ math.min(beyond - 1, 30), tonumber(ARGV[i * 3 + 1]))
    redis.call('set', key .. ':wait', '1', 'px', math.floor(wait))
  end
end
return 1`;

export class Failures {
  readonly #redis: RedisCache | undefined;
  readonly #counts = new LRUCache<string, Count>({ max: MOST_COUNTS, ttl: FORGOTTEN_AFTER_MS });

  constructor(redis: RedisCache | undefined) {
    this.#redis = redis;
  }

  /** How long each must wait before it may try, in milliseconds; 0: it may. */
  async waits(keys: readonly string[]): Promise<number[]> {
    const shared = await this.#redis?.run(WAITS, keys.map(keyOf));
    const here = this.waitsHere(keys);
    return here.map((wait, index) => Math.max(wait, Array.isArray(shared) ? asWait(shared[index]) : 0));
  }

  /** The same, as this process alone knows it: at once. */
  waitsHere(keys: readonly string[]): number[] {
    const now = performance.now();
    return keys.map(key => Math.max(0, (this.#counts.get(keyOf(key))?.until ?? 0) - now));
  }

  /** One failure more of each. */
  async add(counted: readonly Counted[]): Promise<void> {
    for (const { key, policy } of counted) this.#addHere(key, policy);
    const limits = counted.flatMap(({ policy }) => [policy.free, policy.firstMs, policy.mostMs]);
    await this.#redis?.run(
      FAIL,
      counted.map(({ key }) => keyOf(key)),
      [FORGOTTEN_AFTER_MS, ...limits],
    );
  }

  /** Forgets the failures of one. */
  async forget(key: string): Promise<void> {
    const name = keyOf(key);
    this.#counts.delete(name);
    await this.#redis?.run("return redis.call('del', KEYS[1], KEYS[1] .. ':wait')", [name]);
  }

  #addHere(key: string, { free, firstMs, mostMs }: FailurePolicy): void {
    const name = keyOf(key);
    const failures = (this.#counts.get(name)?.failures ?? 0) + 1;
    const beyond = failures - free;
    const wait = beyond > 0 ? Math.min(firstMs * 2 ** Math.min(beyond - 1, 30), mostMs) : 0;
    this.#counts.set(name, { failures, until: wait > 0 ? performance.now() + wait : 0 });
  }
}

/** Short, whatever somebody gave for a name, and nothing that anybody could read in Redis. */
function keyOf(key: string): string {
  return `entrepot:failures:${createHash('sha256').update(key).digest('base64url').slice(0, 22)}`;
}

function asWait(value: unknown): number {
  return typeof value === 'number' && value > 0 ? value : 0;
}
