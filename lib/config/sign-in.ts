/** `ENTREPOT_USERS_FILE` and what belongs to it: who signs in at a gateway. */
import { isIP } from 'node:net';
import { z } from 'zod';
import type { Role, SignInConfig } from './config.js';
import type { Reader } from './reader.js';
import { text } from './values.js';

/** Shorter ones can be guessed. */
const LEAST_SECRET = 16;

const userNames = z.unknown().transform((value, context): string[] => {
  if (Array.isArray(value) && value.every(name => typeof name === 'string' && name !== '')) return value;
  context.addIssue({ code: 'custom', message: 'must be a list of names of users, for example [admin]' });
  return z.NEVER;
});

const networks = z.unknown().transform((value, context): string[] => {
  const list = typeof value === 'string' ? value.split(/\s+/).filter(each => each !== '') : value;
  if (Array.isArray(list) && list.every(isNetwork)) return list;
  const message = "must be a list of addresses and networks, for example [10.0.0.7, 10.1.0.0/16, 'fd00::/8']";
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

function isNetwork(value: unknown): value is string {
  if (typeof value !== 'string') return false;
  const [address = '', bits, ...rest] = value.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/** Who signs in; undefined if nobody does, in every other process, and if something is wrong (then it is noted). */
export function readSignIn(reader: Reader, role: Role): SignInConfig | undefined {
  const usersFile = reader.take('ENTREPOT_USERS_FILE', text('/conf/stack/users.yaml'), undefined);
  const superUsers = reader.take('SUPER_USERS', userNames, []);
  if (usersFile === undefined || role !== 'gateway') return undefined;
  const secretKey = readSecretKey(reader);
  return secretKey === undefined ? undefined : { usersFile, superUsers, secretKey };
}

/** What the keys that tokens are signed with are encrypted with in the database. */
function readSecretKey(reader: Reader): string | undefined {
  const own = reader.raw('ENTREPOT_DATABASE_SECRET_KEY') !== undefined;
  const key = own ? 'ENTREPOT_DATABASE_SECRET_KEY' : 'DATABASE_SECRET_KEY';
  const make = 'a long random text that all gateways share, for example of: openssl rand -hex 32';
  if (!reader.raw(key)) {
    reader.mistake(key, `is missing, and ENTREPOT_USERS_FILE needs it: ${make}`);
    return undefined;
  }
  const secret = reader.take(key, text('(64 hex digits)'), undefined);
  if (secret !== undefined && secret.length < LEAST_SECRET) reader.mistake(key, `is too short; write ${make}`);
  return secret;
}

/** The proxies whose `X-Forwarded-For` is believed. */
export function readTrustedProxies(reader: Reader): readonly string[] {
  return reader.take('ENTREPOT_TRUSTED_PROXIES', networks, []);
}
