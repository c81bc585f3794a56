/**
 * `/v2/auth`: tokens for credentials, as the Docker token flow has it (`GET` with Basic), and as its OAuth2 form has it
 * (`POST`; https://distribution.github.io/distribution/spec/auth/oauth/). Who asks for more than it may have gets what it
 * may have: clients ask for all that they might need.
 */
import type { AnonymousAccess } from '../../lib/config/config.js';
import { bothRights, type Rights } from '../../lib/users/rights.js';
import type { User, Users } from '../../lib/users/users.js';
import { readWholeBody } from '../http/body.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import { anonymousRights } from './caller.js';
import type { Challenges } from './challenge.js';
import type { ClientAddresses } from './client-address.js';
import { Scope, ScopeMalformed, type ScopeOptions } from './scope.js';
import type { Credentials, SignIn } from './sign-in.js';
import { TOKEN_SECONDS, TokenInvalid, type Tokens } from './tokens.js';

const MOST_FORM_BYTES = 32 * 1024;

export interface TokenEndpointOptions {
  readonly access: AnonymousAccess | undefined;
  readonly addresses: ClientAddresses;
  readonly challenges: Challenges;
  readonly scopes: ScopeOptions;
  readonly signIn: SignIn;
  readonly tokens: Tokens;
  readonly users: () => Users;
}

/** Answers a request for a token, or throws. */
export type TokenEndpoint = (ctx: Context, query: URLSearchParams) => Promise<void>;

export function tokenEndpoint(options: TokenEndpointOptions): TokenEndpoint {
  const { addresses, challenges, signIn, tokens, users } = options;
  const anonymous = anonymousRights(options.access);

  async function get(ctx: Context, query: URLSearchParams): Promise<void> {
    const scope = readScope(query.getAll('scope'), options.scopes);
    const credentials = basicCredentials(ctx);
    if (credentials) {
      const user = await signIn.check(credentials, addresses.of(ctx.req));
      const { name } = user;
      await answer(ctx, name, scope.within(bothRights(anonymous, user.rights)));
      return;
    }
    // A token for nobody is of use where something is open to everybody.
    if (anonymous.pull.isEmpty || !query.has('scope')) throw oci.unauthorized(challenges.basic());
    await answer(ctx, undefined, scope.within(anonymous));
  }

  async function post(ctx: Context): Promise<void> {
    const form = await readForm(ctx);
    const scope = readScope(form.getAll('scope'), options.scopes);
    const user = await userOf(ctx, form);
    const granted = scope.within(rightsOf(user));
    const again = form.get('access_type') === 'offline' ? await tokens.issueRefresh(user) : undefined;
    await answer(ctx, user.name, granted, { scope: granted.toString(), ...(again ? { refresh_token: again } : {}) });
  }

  function rightsOf(user: User): Rights {
    return bothRights(anonymous, user.rights);
  }

  async function userOf(ctx: Context, form: URLSearchParams): Promise<User> {
    const grant = form.get('grant_type');
    if (grant === 'password') {
      const [name, password] = [form.get('username'), form.get('password')];
      if (!name || !password) throw oci.parameterInvalid('grant_type=password needs username and password');
      return signIn.check({ name, password }, addresses.of(ctx.req));
    }
    if (grant !== 'refresh_token') throw oci.parameterInvalid('grant_type must be password or refresh_token');
    try {
      return await tokens.verifyRefresh(form.get('refresh_token') ?? '', name => users().find(name));
    } catch (error) {
      if (error instanceof TokenInvalid) throw oci.unauthorized(challenges.basic(), error.message);
      throw error;
    }
  }

  async function answer(ctx: Context, name: string | undefined, scope: Scope, more: object = {}): Promise<void> {
    const token = await tokens.issue({ name, scope });
    if (name !== undefined) ctx.state.user = name;
    const issued_at = new Date().toISOString();
    ctx.set({ 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
    ctx.body = JSON.stringify({ token, access_token: token, expires_in: TOKEN_SECONDS, issued_at, ...more });
  }

  function basicCredentials(ctx: Context): Credentials | undefined {
    const { authorization } = ctx.req.headers;
    if (authorization === undefined) return undefined;
    const encoded = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(authorization)?.[1];
    const text = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    if (colon <= 0) throw oci.unauthorized(challenges.basic(), 'a name and a password are needed, as Basic has them');
    return { name: text.slice(0, colon), password: text.slice(colon + 1) };
  }

  return async (ctx, query) => {
    ctx.state.route = 'auth';
    if (ctx.method === 'GET') await get(ctx, query);
    else if (ctx.method === 'POST') await post(ctx);
    else throw oci.methodUnsupported(ctx.method, ['GET', 'POST']);
  };
}

function readScope(texts: readonly string[], options: ScopeOptions): Scope {
  try {
    return Scope.parse(texts, options);
  } catch (error) {
    if (error instanceof ScopeMalformed) throw oci.parameterInvalid(error.message);
    throw error;
  }
}

async function readForm(ctx: Context): Promise<URLSearchParams> {
  const type = ctx.req.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded') {
    throw oci.parameterInvalid('the request must be a form: application/x-www-form-urlencoded');
  }
  const tooLarge = () => oci.tooLarge('the form is too large');
  const body = await readWholeBody(ctx, { limit: MOST_FORM_BYTES, tooLarge });
  return new URLSearchParams(body.toString('utf8'));
}
