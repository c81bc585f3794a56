/**
 * Tokens: JWTs (RFC 7519) that any gateway of any region makes, and any other one accepts. ES256, since that is short,
 * and known to every library; clients only pass them on.
 *
 * A token says who it is for (nobody in particular, for callers without an account) and what (its scope). It lives for
 * ten minutes: a request that has begun goes on. A refresh token stands for a name and its password until the password
 * is changed, and gives new tokens for a month.
 */
import { createHash } from 'node:crypto';
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { User } from '../../lib/users/users.js';
import type { KeyRing } from './key-ring.js';
import { Scope } from './scope.js';

const ALGORITHM = 'ES256';
const ISSUER = 'entrepot';
export const TOKEN_SECONDS = 600;
const REFRESH_SECONDS = 30 * 24 * 3_600;

/** How far the clocks of gateways may be apart. */
const CLOCK_TOLERANCE_SECONDS = 60;

/** The `sub` of tokens for callers without an account, as Quay has it. */
const ANONYMOUS = '(anonymous)';

/** Tokens that were found to be good are remembered: a pull comes with the same one many times. */
const REMEMBERED = 5_000;

/** The token is no good; the message says why, and is for the client. */
export class TokenInvalid extends Error {
  override readonly name = 'TokenInvalid';
}

/** What a token says. */
export interface Claims {
  /** Undefined: it is for nobody in particular. */
  readonly name: string | undefined;
  readonly scope: Scope;
}

const accessClaims = z.object({
  sub: z.string(),
  access: z.array(z.object({ type: z.string(), name: z.string(), actions: z.array(z.string()) })),
});
const refreshClaims = z.object({ sub: z.string(), pwd: z.string() });

type Kind = 'JWT' | 'refresh+jwt';

export class Tokens {
  readonly #keys: KeyRing;
  readonly #audience: string;
  readonly #now: () => Date;
  readonly #verified = new LRUCache<string, Claims>({ max: REMEMBERED, ttl: TOKEN_SECONDS * 1_000 });

  /** `audience` is the registry's name; `now` is for tests. */
  constructor(keys: KeyRing, audience: string, now = () => new Date()) {
    this.#keys = keys;
    this.#audience = audience;
    this.#now = now;
  }

  issue({ name, scope }: Claims): Promise<string> {
    return this.#sign('JWT', { sub: name ?? ANONYMOUS, access: scope.access }, TOKEN_SECONDS);
  }

  issueRefresh(user: User): Promise<string> {
    return this.#sign('refresh+jwt', { sub: user.name, pwd: fingerprint(user) }, REFRESH_SECONDS);
  }

  /** Throws TokenInvalid; DatabaseUnavailable if its key is unknown and cannot be asked for. */
  async verify(token: string): Promise<Claims> {
    const remembered = this.#verified.get(token);
    if (remembered) return remembered;
    const payload = await this.#verify('JWT', token);
    const { sub, access } = accessClaims.parse(payload);
    const claims = { name: sub === ANONYMOUS ? undefined : sub, scope: Scope.of(access) };
    const left = (payload.exp ?? 0) * 1_000 - this.#now().getTime();
    if (left > 0) this.#verified.set(token, claims, { ttl: left });
    return claims;
  }

  /** The name that a refresh token is for. `find` looks for the user of a name. Throws as `verify` does. */
  async verifyRefresh(token: string, find: (name: string) => User | undefined): Promise<User> {
    const { sub, pwd } = refreshClaims.parse(await this.#verify('refresh+jwt', token));
    const user = find(sub);
    if (!user || fingerprint(user) !== pwd) throw new TokenInvalid('the password of the refresh token was changed');
    return user;
  }

  async #sign(kind: Kind, payload: JWTPayload, seconds: number): Promise<string> {
    const { kid, key } = await this.#keys.signer();
    const now = this.#now();
    return new SignJWT(payload)
      .setProtectedHeader({ alg: ALGORITHM, kid, typ: kind })
      .setIssuer(ISSUER)
      .setAudience(this.#audience)
      .setIssuedAt(now)
      .setExpirationTime(new Date(now.getTime() + seconds * 1_000))
      .sign(key);
  }

  async #verify(kind: Kind, token: string): Promise<JWTPayload> {
    try {
      const { kid } = decodeProtectedHeader(token);
      const key = kid === undefined ? undefined : await this.#keys.verifier(kid);
      if (!key) throw new TokenInvalid('the token was signed with a key that is not known here');
      const { payload } = await jwtVerify(token, key, {
        algorithms: [ALGORITHM],
        issuer: ISSUER,
        audience: this.#audience,
        typ: kind,
        currentDate: this.#now(),
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['sub', 'exp'],
      });
      return payload;
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw new TokenInvalid('the token has expired', { cause: error });
      if (error instanceof errors.JOSEError || error instanceof TypeError) {
        throw new TokenInvalid('the token is not one of this registry', { cause: error });
      }
      throw error;
    }
  }
}

/** Changes with the password, and does not tell its hash. */
function fingerprint({ name, passwordHash }: User): string {
  return createHash('sha256').update(`${name}\n${passwordHash}`).digest('base64url').slice(0, 22);
}
