/**
 * What a caller may do. Every handler asks here before it does anything; what is not allowed is denied.
 *
 * Two things must allow it: the caller's rights as they are now, so that what was taken from a user is gone at once, and
 * the scope of the token that it came with, if any. Who might be let in with other credentials is told so (401, and
 * where to get them); who is known, and may not, is told that (403).
 */
import type { RepositoryName } from '../../lib/oci/name.js';
import { type Action, fullName, RepositorySet } from '../../lib/users/rights.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import type { Challenges, TokenError } from './challenge.js';

export type { Action };

export interface AuthorizerOptions {
  readonly challenges: Challenges;
  readonly libraryNamespace: string;
  /** Whether anybody can sign in here. */
  readonly accounts: boolean;
}

export class Authorizer {
  readonly #options: AuthorizerOptions;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  allows(ctx: Context, repository: RepositoryName, action: Action): boolean {
    const { flaw, rights, scope } = ctx.state.caller;
    const name = fullName(repository, this.#options.libraryNamespace);
    return flaw === undefined && rights[action].has(name) && (scope?.covers(name, action) ?? true);
  }

  /** Throws UNAUTHORIZED or DENIED if the caller may not. */
  demand(ctx: Context, repository: RepositoryName, action: Action): void {
    if (this.allows(ctx, repository, action)) return;
    const { caller } = ctx.state;
    // Whoever pushes or deletes looks at what is there, too; clients ask for both at once.
    const scope = `repository:${repository}:${action === 'pull' ? action : `pull,${action}`}`;
    this.#rejectFlawed(ctx, scope);
    const allowed = caller.rights[action].has(fullName(repository, this.#options.libraryNamespace));
    if (caller.name !== undefined && !allowed)
      throw oci.denied(`${caller.name} may not ${action} ${FROM_TO[action]} ${repository}`);
    throw this.#unauthorized(ctx, scope, allowed && caller.scope ? 'insufficient_scope' : undefined);
  }

  /**
   * For `GET /v2/`, by which clients find out whether they must get a token, and whether the one they got is good. Where
   * there are accounts they must, even if that is a token for nobody in particular: a client that is not told so here
   * would not sign in later either.
   */
  demandEntry(ctx: Context): void {
    this.#rejectFlawed(ctx);
    const { rights, scope } = ctx.state.caller;
    if (this.#options.accounts ? scope === undefined : rights.pull.isEmpty) throw this.#unauthorized(ctx);
  }

  /** For the list of all repositories: those of them that may be told to the caller. */
  demandCatalog(ctx: Context): RepositorySet {
    this.#rejectFlawed(ctx, CATALOG);
    const { name, rights, scope } = ctx.state.caller;
    if (scope && !scope.catalog) throw this.#unauthorized(ctx, CATALOG, 'insufficient_scope');
    if (name === undefined && rights.pull.isEmpty) throw this.#unauthorized(ctx, CATALOG);
    return rights.pull;
  }

  /**
   * The repositories that a blob may be mounted from: the named one, if the caller may pull from it, or all such. Only
   * rights count here. A token is for the repository that it pushes to, by what many clients ask for, and whoever has it
   * could leave out the name.
   */
  sources(ctx: Context, named?: RepositoryName): RepositorySet {
    const { flaw, rights } = ctx.state.caller;
    if (flaw !== undefined) return RepositorySet.none;
    if (named === undefined) return rights.pull;
    const name = fullName(named, this.#options.libraryNamespace);
    return rights.pull.has(name) ? new RepositorySet([name], []) : RepositorySet.none;
  }

  /** Whoever comes with a token that is no good must hear so, also where it would not need one: it can get a new one. */
  #rejectFlawed(ctx: Context, scope?: string): void {
    const { flaw } = ctx.state.caller;
    if (flaw !== undefined) throw this.#unauthorized(ctx, scope, 'invalid_token', flaw);
  }

  #unauthorized(ctx: Context, scope?: string, error?: TokenError, message?: string) {
    const why = error === 'insufficient_scope' ? `the token is not for this; get one for ${scope}` : message;
    return oci.unauthorized(this.#options.challenges.bearer(ctx.req, scope, error), why);
  }
}

const CATALOG = 'registry:catalog:*';
const FROM_TO: Readonly<Record<Action, string>> = { pull: 'from', push: 'to', delete: 'from' };
