/** Looks at Redis from outside, before any process uses it. */
import { Redis } from 'ioredis';
import type { RedisConfig } from '../config/config.js';

const TIMEOUT_MS = 3_000;

/** Redis's version; empty if it does not tell. Throws, with what it said, if it cannot be used. */
export async function inspectRedis({ host, port, db, password, tls }: RedisConfig): Promise<string> {
  const redis = new Redis({
    ...{ host, port, db, lazyConnect: true, maxRetriesPerRequest: 0 },
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
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
