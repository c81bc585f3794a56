/** `WWW-Authenticate`: where a client gets what it needs to be let in. */
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Config } from '../../lib/config/config.js';

/** Where tokens are to be had. */
export const TOKEN_PATH = '/v2/auth';

/** The audience of tokens, if no `SERVER_HOSTNAME` names the registry. */
const UNNAMED = 'entrepot';

/** Why a token was not enough (RFC 6750). */
export type TokenError = 'invalid_token' | 'insufficient_scope';

export type ChallengeOptions = Pick<Config, 'serverHostname' | 'urlScheme'> & {
  /** Whether anybody can sign in here. */
  readonly accounts: boolean;
};

export class Challenges {
  /** The registry's name: the `service` of challenges, and the audience of tokens. */
  readonly service: string;
  readonly #options: ChallengeOptions;

  constructor(options: ChallengeOptions) {
    this.service = options.serverHostname ?? UNNAMED;
    this.#options = options;
  }

  /** Sends a client for a token, for `scope` if one is needed. Every value is quoted: clients' parsers differ. */
  bearer(request: IncomingMessage, scope?: string, error?: TokenError): string {
    if (!this.#options.accounts) return this.basic();
    const parts = { realm: this.realm(request), service: this.service, scope, error };
    const text = Object.entries(parts).flatMap(([name, value]) => (value === undefined ? [] : `${name}="${value}"`));
    return `Bearer ${text.join(',')}`;
  }

  /** Asks for a name and a password. */
  basic(): string {
    return `Basic realm="${this.service.replace(/["\\]/g, '')}"`;
  }

  /** The address of the token endpoint: at the registry's name, or else where the client has come to. */
  realm({ headers, socket }: IncomingMessage): string {
    const { serverHostname, urlScheme } = this.#options;
    const forwarded = headers['x-forwarded-proto']?.toString().split(',', 1)[0]?.trim().toLowerCase();
    const came = socket instanceof TLSSocket ? 'https' : 'http';
    const scheme = urlScheme ?? (forwarded === 'https' || forwarded === 'http' ? forwarded : came);
    const host = headers.host !== undefined && /^[A-Za-z0-9._:[\]-]+$/.test(headers.host) ? headers.host : undefined;
    return `${scheme}://${serverHostname ?? host ?? 'localhost'}${TOKEN_PATH}`;
  }
}
