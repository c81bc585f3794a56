/**
 * Finds out whether somebody is who they say.
 *
 * Checking a password is made to be expensive. So only a few are checked at a time, on other threads; one that was right
 * a moment ago is remembered (a cluster that starts an image asks a hundred times at once); and who waits in vain is told
 * to come back. An unknown name costs what a wrong password costs, and is answered the same.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import pLimit from 'p-limit';
import type { Logger } from 'pino';
import { verifyPassword } from '../../lib/users/password.js';
import type { User, Users } from '../../lib/users/users.js';
import { isUserName } from '../../lib/users/users-file.js';
import { oci } from '../http/errors.js';
import type { Attempts } from './attempts.js';

/** Passwords that are checked at a time. More than libuv has threads would hold up what else needs them. */
const AT_A_TIME = 2;

/** So many may wait for that: some seconds' worth. */
const MOST_WAITING = 100;

/** How long a password that was right is remembered, unless the user changes. */
const REMEMBERED_MS = 5 * 60_000;
const MOST_REMEMBERED = 10_000;

/** Names by which Quay's clients bring tokens instead of passwords. There are none here. */
const TOKEN_NAMES = new Set(['$oauthtoken', '$token', '$app']);

export interface SignInOptions {
  /** The users as they are now. */
  readonly users: () => Users;
  readonly attempts: Attempts;
  readonly log: Logger;
  /** The challenge of the answer to who is not let in. */
  readonly challenge: string;
}

export interface Credentials {
  readonly name: string;
  readonly password: string;
}

export class SignIn {
  readonly #options: SignInOptions;
  readonly #limit = pLimit(AT_A_TIME);
  /** By a keyed hash of name, password and the user's password hash: none of them is kept. */
  readonly #right = new LRUCache<string, true>({ max: MOST_REMEMBERED, ttl: REMEMBERED_MS });
  readonly #checking = new Map<string, Promise<boolean>>();
  readonly #secret = randomBytes(32);

  constructor(options: SignInOptions) {
    this.#options = options;
  }

  /** The user. Throws UNAUTHORIZED, or TOOMANYREQUESTS after too many failures. */
  async check({ name, password }: Credentials, address: string): Promise<User> {
    const { attempts, challenge, log, users } = this.#options;
    if (TOKEN_NAMES.has(name)) {
      throw oci.unauthorized(challenge, `${name} is for tokens, which this registry has not: sign in as a user`);
    }
    const user = users().find(name);
    const key = this.#key(name, password, user);
    if (user && this.#right.has(key)) return user;

    const wait = await attempts.wait(name, address);
    if (wait > 0) throw oci.signInLimited(wait);
    const right = await this.#once(key, { name, password }, address, user);
    // Remembered by others meanwhile, for the same password, is as good.
    if (user && right) {
      this.#right.set(key, true);
      await attempts.succeeded(name, address);
      return user;
    }
    await attempts.failed(name, address);
    // What is no name may be a password, in the wrong field.
    log.warn({ user: isUserName(name) ? name : '(not a name)', address }, 'a sign-in failed');
    throw oci.unauthorized(challenge, 'the name or the password is wrong');
  }

  /** The same that is asked many times at once is checked once. */
  #once(key: string, credentials: Credentials, address: string, user: User | undefined): Promise<boolean> {
    const running = this.#checking.get(key);
    if (running) return running;
    if (this.#limit.pendingCount >= MOST_WAITING) throw oci.tooManyRequests('too many sign in at once');
    const checking = this.#limit(() => this.#verify(credentials, address, user)).finally(() =>
      this.#checking.delete(key),
    );
    this.#checking.set(key, checking);
    return checking;
  }

  async #verify({ name, password }: Credentials, address: string, user: User | undefined): Promise<boolean> {
    // Others may have failed while this one waited: a flood must not get through because it came all at once.
    const wait = this.#options.attempts.waitHere(name, address);
    if (wait > 0) throw oci.signInLimited(wait);
    const measured = user ?? this.#options.users().decoy(name);
    if (!measured) return false;
    const matches = await verifyPassword(measured.passwordHash, password);
    return matches && user !== undefined;
  }

  #key(name: string, password: string, user: User | undefined): string {
    const parts = JSON.stringify([name, user?.passwordHash ?? '', password]);
    return createHmac('sha256', this.#secret).update(parts).digest('base64');
  }
}
