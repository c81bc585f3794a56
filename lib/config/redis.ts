/** How to reach Redis. Quay has two keys for it; one server is enough here, so the one for events is preferred. */
import type { z } from 'zod';
import type { RedisConfig, RedisTls } from './config.js';
import { mostSimilar } from './keys.js';
import type { Reader } from './reader.js';
import { redisSchema } from './schema/redis.js';
import type { Key } from './schema/schema.js';

const FIELDS = Object.keys(redisSchema.shape);

/** Further parameters of Quay's Redis client. They mean nothing here, and a notice says so. */
const CLIENT_FIELDS = [
  'ssl_ca_data',
  'ssl_ca_path',
  'socket_timeout',
  'socket_connect_timeout',
  'socket_keepalive',
  'retry_on_timeout',
  'health_check_interval',
  'max_connections',
];

/** Reads the Redis server, and adds the fields that mean nothing here to `ignored`. */
export function readRedis(reader: Reader, ignored: string[]): RedisConfig | undefined {
  const key = reader.raw('USER_EVENTS_REDIS') ? 'USER_EVENTS_REDIS' : 'BUILDLOGS_REDIS';
  const value = reader.raw(key)?.value;
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const field of Object.keys(value)) {
      if (FIELDS.includes(field)) continue;
      const similar = mostSimilar(field, [...FIELDS, ...CLIENT_FIELDS]);
      if (CLIENT_FIELDS.includes(field)) ignored.push(`${key}.${field}`);
      else
        reader.mistake(key, similar ? `unknown field; did you mean ${similar}?` : 'unknown field; remove it', [field]);
    }
  }
  const redis = reader.take(key);
  if (!redis) return undefined;
  return {
    host: redis.host,
    port: redis.port,
    username: redis.username ?? undefined,
    password: redis.password || undefined,
    db: redis.db,
    tls: redis.ssl ? readTls(reader, key, redis) : undefined,
  };
}

function readTls(reader: Reader, key: Key, redis: z.infer<typeof redisSchema>): RedisTls {
  const { ssl_certfile: cert, ssl_keyfile: certKey } = redis;
  if ((cert === undefined) !== (certKey === undefined))
    reader.mistake(key, 'ssl_certfile and ssl_keyfile are given together, or neither is');
  const verified = redis.ssl_cert_reqs ?? true;
  return { ca: redis.ssl_ca_certs, cert, key: certKey, verified, hostChecked: redis.ssl_check_hostname ?? verified };
}
