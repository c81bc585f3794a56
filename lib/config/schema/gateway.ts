/** The keys of gateways: who may come, how, and with what. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { formatSize } from '../size.js';
import { flag, listenAddress, oneOf, size, sizeOrBytes, text, wholeNumber } from '../values.js';
import { COMMAND, GATEWAY, key, STORAGE_PROXY, WORKER } from './key.js';

const DEFAULT_LAYER_SIZE = 20 * 1024 ** 3;
const MINIMUM_MANIFEST_SIZE = 4 * 1024 ** 2;

const NAMESPACE = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const NAMESPACE_FORM = 'must be one component of a repository name: small letters and digits, with . _ - between them';

const serverHostname = text('registry.example.com')
  .regex(/^[^\s/]+$/, {
    error:
      'must be the host name (and port) that clients use, without https:// and path, for example registry.example.com',
  })
  .describe('a host name, with its port');

const userNames = z
  .unknown()
  .transform((value, context): string[] => {
    if (Array.isArray(value) && value.every(name => typeof name === 'string' && name !== '')) return value;
    context.addIssue({ code: 'custom', message: 'must be a list of names of users, for example [admin]' });
    return z.NEVER;
  })
  .describe('a list of names');

const networks = z
  .unknown()
  .transform((value, context): string[] => {
    const list = typeof value === 'string' ? value.split(/\s+/).filter(each => each !== '') : value;
    if (Array.isArray(list) && list.every(isNetwork)) return list;
    const message = "must be a list of addresses and networks, for example [10.0.0.7, 10.1.0.0/16, 'fd00::/8']";
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  })
  .describe('a list of addresses and networks');

function isNetwork(value: unknown): value is string {
  if (typeof value !== 'string') return false;
  const [address = '', bits, ...rest] = value.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

const secret = {
  value: text('(64 hex digits)').describe('a random text of at least 16 characters'),
  absent: undefined,
  absentMeans: 'required with `ENTREPOT_USERS_FILE`',
  readBy: GATEWAY,
  meaning: 'encrypts the keys of tokens in the database; the same for all gateways',
} as const;

export const GATEWAY_KEYS = {
  SERVER_HOSTNAME: key({
    value: serverHostname,
    absent: undefined,
    readBy: GATEWAY,
    meaning: 'the registry as clients write it, without `https://`',
  }),
  ENTREPOT_USERS_FILE: key({
    value: text('/conf/stack/users.yaml').describe('a path'),
    absent: undefined,
    readBy: GATEWAY,
    meaning: 'who may sign in, and do what: see [signing in](sign-in.md)',
    plain: true,
  }),
  ENTREPOT_DATABASE_SECRET_KEY: key({ ...secret, plain: true }),
  DATABASE_SECRET_KEY: key({
    ...secret,
    absentMeans: 'none',
    meaning: "Quay's spelling of `ENTREPOT_DATABASE_SECRET_KEY`",
  }),
  SUPER_USERS: key({
    value: userNames,
    absent: [],
    absentMeans: 'none',
    readBy: GATEWAY,
    meaning: 'users of the users file who may do everything',
  }),
  ENTREPOT_TRUSTED_PROXIES: key({
    value: networks,
    absent: [],
    absentMeans: 'none',
    readBy: GATEWAY,
    meaning: 'the proxies in front, whose `X-Forwarded-For` is believed',
  }),
  ENTREPOT_PROXY_PROTOCOL_FROM: key({
    value: networks,
    absent: [],
    absentMeans: 'none',
    readBy: GATEWAY,
    meaning: 'the proxies that pass connections on, each with a header of the PROXY protocol',
  }),
  ENTREPOT_ANONYMOUS_ACCESS: key({
    value: oneOf(['none', 'pull', 'push']),
    absent: undefined,
    absentMeans: 'see below',
    readBy: GATEWAY,
    meaning: 'what callers without an account may do',
    plain: true,
  }),
  ENTREPOT_GATEWAY_LISTEN: key({
    value: listenAddress,
    absent: undefined,
    absentMeans: '`0.0.0.0:8080` or `127.0.0.1:8080`',
    readBy: [...GATEWAY, ...COMMAND],
    meaning: 'where HTTP is served',
    plain: true,
  }),
  ENTREPOT_GATEWAY_TLS_LISTEN: key({
    value: listenAddress,
    absent: undefined,
    absentMeans: 'port 8443, same host',
    readBy: GATEWAY,
    meaning: 'where HTTPS is served, if there are `ssl.cert` and `ssl.key`',
    plain: true,
  }),
  EXTERNAL_TLS_TERMINATION: key({
    value: flag,
    absent: false,
    readBy: GATEWAY,
    meaning: 'a proxy in front ends TLS: only HTTP is served',
  }),
  PREFERRED_URL_SCHEME: key({
    value: oneOf(['http', 'https']),
    absent: undefined,
    absentMeans: 'see below',
    readBy: GATEWAY,
    meaning: 'how clients reach the registry',
  }),
  LIBRARY_NAMESPACE: key({
    value: text('library').regex(NAMESPACE, { error: NAMESPACE_FORM }).describe('one component of a name'),
    absent: 'library',
    readBy: [...GATEWAY, ...WORKER],
    meaning: 'the namespace of repositories whose name has only one component',
  }),
  MAXIMUM_LAYER_SIZE: key({
    value: size,
    absent: DEFAULT_LAYER_SIZE,
    absentMeans: `\`${formatSize(DEFAULT_LAYER_SIZE)}\``,
    readBy: GATEWAY,
    meaning: 'the largest blob that may be pushed',
  }),
  BLOBUPLOAD_DELETION_DATE_THRESHOLD: key({
    value: wholeNumber(1, 10_000_000),
    absent: 2_880,
    readBy: [...WORKER, ...STORAGE_PROXY],
    meaning: 'minutes after which an upload that nobody goes on with is ended',
  }),
  REGISTRY_STATE: key({
    value: oneOf(['normal', 'readonly']),
    absent: 'normal',
    readBy: GATEWAY,
    meaning: '`readonly`: no pushes and no deletes at this gateway',
  }),
  DISABLE_PUSHES: key({ value: flag, absent: false, readBy: GATEWAY, meaning: 'no pushes at this gateway' }),
  ENTREPOT_MAXIMUM_MANIFEST_SIZE: key({
    value: sizeOrBytes(MINIMUM_MANIFEST_SIZE),
    absent: MINIMUM_MANIFEST_SIZE,
    absentMeans: `\`${formatSize(MINIMUM_MANIFEST_SIZE)}\``,
    readBy: GATEWAY,
    meaning: 'the largest manifest that may be pushed',
  }),
  ENTREPOT_SPARSE_IMAGES: key({
    value: flag,
    absent: false,
    readBy: GATEWAY,
    meaning: 'an image may be pushed though the repository lacks some of its blobs',
  }),
  ENTREPOT_HEALTH_REQUIRES_STORAGE: key({
    value: flag,
    absent: false,
    readBy: GATEWAY,
    meaning: "`/health/endtoend` is 503 while the region's own location is away",
  }),
};
