/** `ENTREPOT_USERS_FILE` and what belongs to it: who signs in at a gateway. */
import type { Role, SignInConfig } from './config.js';
import type { Reader } from './reader.js';

/** Shorter ones can be guessed. */
const LEAST_SECRET = 16;

/** Who signs in; undefined if nobody does, in every other process, and if something is wrong (then it is noted). */
export function readSignIn(reader: Reader, role: Role): SignInConfig | undefined {
  const usersFile = reader.take('ENTREPOT_USERS_FILE');
  const superUsers = reader.take('SUPER_USERS');
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
  const secret = reader.take(key);
  if (secret !== undefined && secret.length < LEAST_SECRET) reader.mistake(key, `is too short; write ${make}`);
  return secret;
}

/** The proxies whose `X-Forwarded-For` is believed. */
export function readTrustedProxies(reader: Reader): readonly string[] {
  return reader.take('ENTREPOT_TRUSTED_PROXIES');
}
