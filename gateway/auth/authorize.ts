/** What a caller may do. Every handler asks here before it does anything; what is not allowed is denied. */
import type { AnonymousAccess } from '../../lib/config/config.js';
import type { RepositoryName } from '../../lib/oci/name.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import type { Caller } from './caller.js';

export type Action = 'pull' | 'push' | 'delete';

/** Decides whether `caller` may do `action`; without a repository: in any repository. */
export type Policy = (caller: Caller, repository: RepositoryName | undefined, action: Action) => boolean;

/**
 * The policy for callers without an account. Unless `ENTREPOT_ANONYMOUS_ACCESS` opens the registry by name, it serves
 * its own machine only.
 */
export function anonymousPolicy(access: AnonymousAccess | undefined): Policy {
  return (caller, _repository, action) => {
    switch (access) {
      case undefined:
        return caller.loopback;
      case 'pull':
        return action === 'pull';
      case 'push':
        return true;
      default:
        return false;
    }
  };
}

/** Asks the policy for the caller of a request. */
export class Authorizer {
  readonly #policy: Policy;
  readonly #realm: string;

  /** `realm` is what clients show when they ask for a password. */
  constructor(policy: Policy, realm: string) {
    this.#policy = policy;
    this.#realm = realm;
  }

  allows(ctx: Context, repository: RepositoryName | undefined, action: Action): boolean {
    return this.#policy(ctx.state.caller, repository, action);
  }

  /** Throws UNAUTHORIZED if the caller may not. */
  demand(ctx: Context, repository: RepositoryName | undefined, action: Action): void {
    if (!this.allows(ctx, repository, action)) throw oci.unauthorized(this.#realm);
  }
}
