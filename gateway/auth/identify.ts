/** Who makes a request: its token, and the rights that its user has at this moment. */
import type { IncomingMessage } from 'node:http';
import type { AnonymousAccess } from '../../lib/config/config.js';
import { bothRights, type Rights } from '../../lib/users/rights.js';
import type { User, Users } from '../../lib/users/users.js';
import { anonymousRights, type Caller, nobody, rightsWithoutAccounts } from './caller.js';
import { TOKEN_PATH } from './challenge.js';
import { TokenInvalid, type Tokens } from './tokens.js';

export type Identify = (request: IncomingMessage) => Promise<Caller>;

/** Where there are no accounts: whatever credentials a client may have from elsewhere are not looked at. */
export function identifyWithoutAccounts(access: AnonymousAccess | undefined): Identify {
  return async request => ({ ...nobody, rights: rightsWithoutAccounts(access, request) });
}

export interface IdentifyOptions {
  readonly access: AnonymousAccess | undefined;
  readonly users: () => Users;
  readonly tokens: Tokens;
}

/**
 * Where there are accounts: by a token, as Quay has it. Passwords are taken at the token endpoint only, so that no more
 * than one place has to be slow about them.
 */
export function identifyByToken({ access, users, tokens }: IdentifyOptions): Identify {
  const anonymous: Caller = { ...nobody, rights: anonymousRights(access) };
  /** By user as the file has it now: the same for all requests of one. */
  const rightsOf = new WeakMap<User, Rights>();
  const flawed = (flaw: string): Caller => ({ ...nobody, flaw });

  return async request => {
    const { authorization } = request.headers;
    if (authorization === undefined) return anonymous;
    const token = /^bearer +([^\s]+) *$/i.exec(authorization)?.[1];
    if (token === undefined) return flawed(`only a token is taken here; get one at ${TOKEN_PATH}`);
    try {
      const { name, scope } = await tokens.verify(token);
      if (name === undefined) return { ...anonymous, scope };
      const user = users().find(name);
      if (!user) return flawed('the user of the token is not there any more');
      const rights = rightsOf.get(user) ?? bothRights(anonymous.rights, user.rights);
      rightsOf.set(user, rights);
      return { name, scope, rights };
    } catch (error) {
      if (error instanceof TokenInvalid) return flawed(error.message);
      throw error;
    }
  };
}
