/**
 * The bytes of manifests by digest: in this process, and in Redis for the gateways of a region together.
 *
 * What a digest names never changes, so nothing here can be stale; whether a caller may have it is asked of the
 * database each time. Redis may be absent, stopped, hung or full of nonsense: no request fails or waits for it, and
 * what comes out of it is hashed before it is used.
 */
import { LRUCache } from 'lru-cache';
import { algorithmOf, type Digest, digestOf } from '../oci/digest.js';
import type { RedisCache } from './redis.js';

/** Bytes of manifests kept in this process. */
const MEMORY_BYTES = 32 * 1024 * 1024;

/** What an entry costs beside its bytes; also keeps `maxSize` satisfied for an empty one. */
const ENTRY_OVERHEAD = 200;

const REDIS_TTL_SECONDS = 24 * 60 * 60;

export class ManifestCache {
  readonly #memory = new LRUCache<Digest, Buffer>({
    maxSize: MEMORY_BYTES,
    sizeCalculation: bytes => bytes.length + ENTRY_OVERHEAD,
  });
  readonly #redis: RedisCache | undefined;
  readonly #onLookup: (found: 'memory' | 'redis' | 'none') => void;

  /** `onLookup` hears of what had the bytes that were looked for. */
  constructor(redis: RedisCache | undefined, onLookup: (found: 'memory' | 'redis' | 'none') => void = () => {}) {
    this.#redis = redis;
    this.#onLookup = onLookup;
  }

  /** The bytes if this process or Redis has them. */
  async get(digest: Digest): Promise<Buffer | undefined> {
    const here = this.#memory.get(digest);
    const found = here ?? (await this.#fromRedis(digest));
    this.#onLookup(here ? 'memory' : found ? 'redis' : 'none');
    return found;
  }

  async #fromRedis(digest: Digest): Promise<Buffer | undefined> {
    const found = await this.#redis?.get(keyOf(digest));
    if (!found || digestOf(found, algorithmOf(digest)) !== digest) return undefined;
    this.#memory.set(digest, found);
    return found;
  }

  /** Keeps bytes whose digest was checked. Does not wait for Redis. */
  put(digest: Digest, bytes: Buffer): void {
    this.#memory.set(digest, bytes);
    this.#redis?.set(keyOf(digest), bytes, REDIS_TTL_SECONDS);
  }
}

function keyOf(digest: Digest): string {
  return `entrepot:manifest:${digest}`;
}
