/** The keys that say how to reach Redis. */
import { z } from 'zod';
import { flag, text, wholeNumber } from '../values.js';
import { GATEWAY, key, WORKER } from './key.js';

const PORT = wholeNumber(1, 65535);

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

/** The fields of both keys. `description` is what one takes, `absent` its default, `meaning` what it is for. */
export const redisSchema = z.object(
  {
    host: text('10.0.0.2').meta({ description: 'a host', absent: 'required', meaning: '' }),
    // Written as a text in many of Quay's examples.
    port: z
      .preprocess(value => (typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value), PORT)
      .default(6379)
      .meta({ description: 'a number, or a number in quotes', absent: '`6379`', meaning: '' }),
    username: text('entrepot')
      .nullish()
      .meta({ description: 'a text', absent: 'none', meaning: 'where Redis has access lists' }),
    password: z
      .string({ error: 'must be a text; put a number in quotes' })
      .nullish()
      .meta({ description: 'a text; put a number in quotes', absent: 'none', meaning: '' }),
    db: wholeNumber(0, 65535).default(0).meta({ description: 'a number', absent: '`0`', meaning: '' }),
    ssl: flag.optional().meta({ description: '`true` or `false`', absent: '`false`', meaning: 'connect with TLS' }),
    ssl_ca_certs: text('/conf/stack/redis-ca.crt').optional().meta({
      description: 'a path',
      absent: 'those that Node.js knows',
      meaning: "the authorities from which the server's certificate must come",
    }),
    ssl_certfile: text('/conf/stack/redis.crt')
      .optional()
      .meta({ description: 'a path', absent: 'none', meaning: 'our own certificate, if the server asks for one' }),
    ssl_keyfile: text('/conf/stack/redis.key')
      .optional()
      .meta({ description: 'a path', absent: 'none', meaning: 'its key' }),
    ssl_cert_reqs: certificateCheck.optional().meta({
      description: '`required`, `optional` or `none`',
      absent: '`required`',
      meaning: "with `none` anybody's certificate will do",
    }),
    ssl_check_hostname: flag
      .optional()
      .meta({ description: '`true` or `false`', absent: '`true`', meaning: 'whether it must be for `host`' }),
  },
  { error: 'must be a mapping, for example {host: 10.0.0.2, port: 6379}' },
);

const redis = {
  value: redisSchema.describe('a mapping'),
  absent: undefined,
  readBy: [...GATEWAY, ...WORKER],
} as const;

export const REDIS_KEYS = {
  USER_EVENTS_REDIS: key({ ...redis, meaning: 'a cache, and where workers tell that images have arrived' }),
  BUILDLOGS_REDIS: key({ ...redis, meaning: 'the same, used if `USER_EVENTS_REDIS` is not given' }),
};
