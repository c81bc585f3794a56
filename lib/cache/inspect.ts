/** Looks at Redis from outside, before any process uses it. */
import { Redis } from 'ioredis';
import type { RedisConfig } from '../config/config.js';
import { connectionOf } from './connection.js';

const TIMEOUT_MS = 3_000;

/** Redis's version; empty if it does not tell. Throws, with what it said, if it cannot be used. */
export async function inspectRedis(config: RedisConfig): Promise<string> {
  const redis = new Redis({
    ...connectionOf(config),
    ...{ lazyConnect: true, maxRetriesPerRequest: 0 },
    ...{ connectTimeout: TIMEOUT_MS, commandTimeout: TIMEOUT_MS, retryStrategy: () => null },
  });
  // What is thrown says only that there is no connection; why, is told here.
  let cause: unknown;
  redis.on('error', error => {
    cause ??= error;
  });
  try {
    await redis.connect();
    await redis.ping();
    const info = await redis.info('server').catch(() => '');
    return /^redis_version:(\S+)/m.exec(info)?.[1] ?? '';
  } catch (error) {
    throw cause ?? error;
  } finally {
    redis.disconnect();
  }
}
