/** `DB_URI` and its relatives. */
import type { DatabaseConfig } from './config.js';
import { parseDatabaseUri } from './database-uri.js';
import type { Reader } from './reader.js';
import type { Key } from './schema/schema.js';

/** Reads how to reach PostgreSQL; undefined if that is missing or wrong (then it is noted). */
export function readDatabase(reader: Reader): DatabaseConfig | undefined {
  const tls = reader.take('DB_CONNECTION_ARGS');
  const poolSize = reader.take('ENTREPOT_DB_POOL_SIZE');
  const url = readUri(reader, 'DB_URI', tls);
  const listenKey = reader.raw('ENTREPOT_DB_LISTEN_URI') ? 'ENTREPOT_DB_LISTEN_URI' : 'DB_LISTEN_URI';
  const listenUrl = readUri(reader, listenKey, tls);
  if (!reader.raw('DB_URI'))
    reader.mistake('DB_URI', 'is missing; write DB_URI: postgresql://USER:PASSWORD@HOST:5432/DATABASE');
  return url === undefined ? undefined : { url, listenUrl: listenUrl ?? url, poolSize };
}

type UriKey = Extract<Key, 'DB_URI' | 'DB_LISTEN_URI' | 'ENTREPOT_DB_LISTEN_URI'>;

function readUri(reader: Reader, key: UriKey, tls: Readonly<Record<string, string>>): string | undefined {
  const value = reader.take(key);
  if (value === undefined) return undefined;
  const result = parseDatabaseUri(value, tls);
  if ('url' in result) return result.url;
  reader.mistake(key, result.mistake);
  return undefined;
}
