/** All keys that mean something here, and the sections of the documentation that they stand in. */
import { z } from 'zod';
import { formatAddress } from '../address.js';
import { DATABASE_KEYS } from './database.js';
import { GATEWAY_KEYS } from './gateway.js';
import type { KeyGroup, KeySchema } from './key.js';
import { LOCATION_KEYS } from './locations.js';
import { COMMAND_KEYS, COMMON_KEYS, GRPC_KEYS, METRICS_KEYS, STORAGE_PROXY_KEYS, WORKER_KEYS } from './processes.js';
import { REDIS_KEYS } from './redis.js';
import { TRACING_KEYS } from './tracing.js';

export const KEYS = {
  ...DATABASE_KEYS,
  ...REDIS_KEYS,
  ...LOCATION_KEYS,
  ...GATEWAY_KEYS,
  ...STORAGE_PROXY_KEYS,
  ...WORKER_KEYS,
  ...GRPC_KEYS,
  ...COMMAND_KEYS,
  ...COMMON_KEYS,
  ...METRICS_KEYS,
  ...TRACING_KEYS,
};

/** A key that means something here. */
export type Key = keyof typeof KEYS;

/** What a key's value is, once it has been read. */
export type Value<K extends Key> = (typeof KEYS)[K] extends KeySchema<infer T, unknown> ? T : never;

/** What counts where a key is not given. */
export type Absent<K extends Key> = (typeof KEYS)[K] extends KeySchema<unknown, infer A> ? A : never;

/** In the order of docs/configuration.md. */
export const KEY_GROUPS: readonly KeyGroup[] = [
  { title: 'Database', keys: DATABASE_KEYS },
  { title: 'Redis', keys: REDIS_KEYS },
  { title: 'Locations', keys: LOCATION_KEYS },
  { title: 'Gateway', keys: GATEWAY_KEYS },
  { title: 'Storage-proxy', keys: STORAGE_PROXY_KEYS },
  { title: 'Worker', keys: WORKER_KEYS },
  { title: 'Between the processes', keys: GRPC_KEYS },
  { title: 'The `entrepot` command', keys: COMMAND_KEYS },
  { title: 'All processes', keys: COMMON_KEYS },
  { title: 'Metrics', keys: METRICS_KEYS },
  { title: 'Traces', keys: TRACING_KEYS },
];

/** What counts where the key is not given, in words (of Markdown). */
export function absentOf({ absent, absentMeans }: KeySchema): string {
  if (absentMeans !== undefined) return absentMeans;
  if (absent === undefined) return 'none';
  const address = ADDRESS.safeParse(absent);
  return `\`${address.success ? formatAddress(address.data) : String(absent)}\``;
}

const ADDRESS = z.object({ host: z.string(), port: z.number() });
