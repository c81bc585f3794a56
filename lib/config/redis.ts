/** How to reach Redis. Quay has two keys for it; one server is enough here, so the one for events is preferred. */
import { z } from 'zod';
import type { RedisConfig, RedisTls } from './config.js';
import { type Key, mostSimilar } from './keys.js';
import type { Reader } from './reader.js';
import { flag, text, wholeNumber } from './values.js';

const PORT = wholeNumber(1, 65535);

const FIELDS = [
  'host',
  'port',
  'username',
  'password',
  'db',
  'ssl',
  'ssl_ca_certs',
  'ssl_certfile',
  'ssl_keyfile',
  'ssl_cert_reqs',
  'ssl_check_hostname',
];

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

/** Whether the server's certificate is checked, in either spelling of Quay's client. */
const certificateCheck = z.unknown().transform((value, context): boolean => {
  const word = String(value)
    .toLowerCase()
    .replace(/^cert_/, '');
  if (word === 'required' || word === 'optional') return true;
  if (word === 'none') return false;
  context.addIssue({ code: 'custom', message: 'must be required, optional or none' });
  return z.NEVER;
});

const redisSchema = z.object(
  {
    host: text('10.0.0.2'),
    // Written as a text in many of Quay's examples.
    port: z
      .preprocess(value => (typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value), PORT)
      .default(6379),
    username: text('entrepot').nullish(),
    password: z.string({ error: 'must be a text; put a number in quotes' }).nullish(),
    db: wholeNumber(0, 65535).default(0),
    ssl: flag.optional(),
    ssl_ca_certs: text('/conf/stack/redis-ca.crt').optional(),
    ssl_certfile: text('/conf/stack/redis.crt').optional(),
    ssl_keyfile: text('/conf/stack/redis.key').optional(),
    ssl_cert_reqs: certificateCheck.optional(),
    ssl_check_hostname: flag.optional(),
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
