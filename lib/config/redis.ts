/** How to reach Redis. Quay has two keys for it; one server is enough here, so the one for events is preferred. */
import { z } from 'zod';
import type { RedisConfig } from './config.js';
import { mostSimilar } from './keys.js';
import type { Reader } from './reader.js';
import { flag, text, wholeNumber } from './values.js';

const PORT = wholeNumber(1, 65535);

const FIELDS = ['host', 'port', 'password', 'db', 'ssl'];

/** Further parameters of Quay's Redis client. They mean nothing here, and a notice says so. */
const CLIENT_FIELDS = [
  'username',
  'ssl_keyfile',
  'ssl_certfile',
  'ssl_cert_reqs',
  'ssl_ca_certs',
  'ssl_ca_data',
  'ssl_ca_path',
  'ssl_check_hostname',
  'socket_timeout',
  'socket_connect_timeout',
  'socket_keepalive',
  'retry_on_timeout',
  'health_check_interval',
  'max_connections',
];

const redisSchema = z.object(
  {
    host: text('10.0.0.2'),
    // Written as a text in many of Quay's examples.
    port: z
      .preprocess(value => (typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value), PORT)
      .default(6379),
    password: z.string({ error: 'must be a text; put a number in quotes' }).nullish(),
    db: wholeNumber(0, 65535).default(0),
    ssl: flag.optional(),
  },
  { error: 'must be a mapping, for example {host: 10.0.0.2, port: 6379}' },
);

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
  const redis = reader.take(key, redisSchema, undefined);
  if (!redis) return undefined;
  return {
    host: redis.host,
    port: redis.port,
    password: redis.password || undefined,
    db: redis.db,
    tls: redis.ssl ?? false,
  };
}
