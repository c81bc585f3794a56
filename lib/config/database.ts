/** `DB_URI` and its relatives. */
import { z } from 'zod';
import type { DatabaseConfig } from './config.js';
import { parseDatabaseUri } from './database-uri.js';
import type { Key } from './keys.js';
import type { Reader } from './reader.js';
import { text, wholeNumber } from './values.js';

const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;

/**
 * `DB_CONNECTION_ARGS` is passed to Quay's driver. What it says about TLS is kept, or a connection that must be encrypted
 * would silently not be; the rest (`threadlocals`, `autorollback`, …) belongs to Quay's way of talking to databases.
 */
const connectionArguments = z
  .object(
    {
      sslmode: z.enum(SSL_MODES, { error: `must be one of ${SSL_MODES.join(', ')}` }).optional(),
      sslrootcert: text('/conf/stack/ca.crt').optional(),
      sslcert: text('/conf/stack/client.crt').optional(),
      sslkey: text('/conf/stack/client.key').optional(),
      // As Quay has it for other databases.
      ssl: z
        .object(
          {
            ca: text('/conf/stack/ca.crt').optional(),
            cert: text('/conf/stack/client.crt').optional(),
            key: text('/conf/stack/client.key').optional(),
          },
          { error: 'must be a mapping, for example {ca: /conf/stack/ca.crt}' },
        )
        .optional(),
    },
    { error: 'must be a mapping, for example {sslmode: verify-full}' },
  )
  .transform(({ ssl, ...given }) => {
    const mapped = ssl && { sslmode: 'verify-full', sslrootcert: ssl.ca, sslcert: ssl.cert, sslkey: ssl.key };
    const all = Object.entries({ ...mapped, ...given });
    return Object.fromEntries(all.filter((each): each is [string, string] => each[1] !== undefined));
  });

const uriText = text('postgresql://USER:PASSWORD@HOST:5432/DATABASE');

/** Reads how to reach PostgreSQL; undefined if that is missing or wrong (then it is noted). */
export function readDatabase(reader: Reader): DatabaseConfig | undefined {
  const tls = reader.take('DB_CONNECTION_ARGS', connectionArguments, {});
  const poolSize = reader.take('ENTREPOT_DB_POOL_SIZE', wholeNumber(1, 1000), 10);
  const url = readUri(reader, 'DB_URI', tls);
  const listenKey = reader.raw('ENTREPOT_DB_LISTEN_URI') ? 'ENTREPOT_DB_LISTEN_URI' : 'DB_LISTEN_URI';
  const listenUrl = readUri(reader, listenKey, tls);
  if (!reader.raw('DB_URI'))
    reader.mistake('DB_URI', 'is missing; write DB_URI: postgresql://USER:PASSWORD@HOST:5432/DATABASE');
  return url === undefined ? undefined : { url, listenUrl: listenUrl ?? url, poolSize };
}

function readUri(reader: Reader, key: Key, tls: Readonly<Record<string, string>>): string | undefined {
  const value = reader.take(key, uriText, undefined);
  if (value === undefined) return undefined;
  const result = parseDatabaseUri(value, tls);
  if ('url' in result) return result.url;
  reader.mistake(key, result.mistake);
  return undefined;
}
