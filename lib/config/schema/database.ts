/** The keys that say how to reach PostgreSQL. */
import { z } from 'zod';
import { text, wholeNumber } from '../values.js';
import { COMMAND, key, WITH_DATABASE, WORKER } from './key.js';

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
  })
  .describe('a mapping');

const uri = text('postgresql://USER:PASSWORD@HOST:5432/DATABASE').describe('an address, `postgresql://…`');

const listenUri = {
  value: uri,
  absent: undefined,
  absentMeans: '`DB_URI`',
  readBy: [...WORKER, ...COMMAND],
  meaning: 'where `LISTEN` works, if `DB_URI` leads to a pooler (pgbouncer) that shares sessions',
} as const;

export const DATABASE_KEYS = {
  DB_URI: key({
    value: uri,
    absent: undefined,
    absentMeans: 'required',
    readBy: WITH_DATABASE,
    meaning: 'the PostgreSQL database that all regions share',
  }),
  DB_CONNECTION_ARGS: key({
    value: connectionArguments,
    absent: {},
    absentMeans: 'none',
    readBy: WITH_DATABASE,
    meaning: 'TLS to it: of the mapping, `sslmode`, `sslrootcert`, `sslcert`, `sslkey` and `ssl` are used',
  }),
  ENTREPOT_DB_LISTEN_URI: key({ ...listenUri, plain: true }),
  DB_LISTEN_URI: key({ ...listenUri, absentMeans: 'none', meaning: 'another spelling of `ENTREPOT_DB_LISTEN_URI`' }),
  ENTREPOT_DB_POOL_SIZE: key({
    value: wholeNumber(1, 1000),
    absent: 10,
    readBy: WITH_DATABASE,
    meaning: 'connections of one process at most',
  }),
};
