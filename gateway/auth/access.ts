/** Puts together the parts that decide who may do what, from the configuration. */
import type { Logger } from 'pino';
import { Failures } from '../../lib/cache/failures.js';
import type { RedisCache } from '../../lib/cache/redis.js';
import type { Config, SignInConfig } from '../../lib/config/config.js';
import type { Database } from '../../lib/metadata/database.js';
import { SigningKeys } from '../../lib/metadata/signing-keys.js';
import { WatchedUsers } from '../../lib/users/watched-users.js';
import type { Context } from '../http/context.js';
import { Attempts } from './attempts.js';
import { Authorizer } from './authorize.js';
import { Challenges } from './challenge.js';
import { ClientAddresses } from './client-address.js';
import { type Identify, identifyByToken, identifyWithoutAccounts } from './identify.js';
import { KeyRing } from './key-ring.js';
import { Seal } from './sealed.js';
import { SignIn } from './sign-in.js';
import { type TokenEndpoint, tokenEndpoint } from './token-endpoint.js';
import { Tokens } from './tokens.js';

export interface Access {
  readonly authorizer: Authorizer;
  /** Finds out who makes the request. To be called before anything asks the authorizer. */
  identify(ctx: Context): Promise<void>;
  /** Undefined where nobody can sign in. */
  readonly tokenEndpoint: TokenEndpoint | undefined;
  close(): Promise<void>;
}

export interface AccessOptions {
  readonly config: Config;
  readonly db: Database;
  readonly redis: RedisCache | undefined;
  readonly log: Logger;
}

export async function openAccess(options: AccessOptions): Promise<Access> {
  const { config } = options;
  const accounts = config.signIn !== undefined;
  const challenges = new Challenges({ ...config, accounts });
  const authorizer = new Authorizer({ challenges, libraryNamespace: config.libraryNamespace, accounts });
  const parts = config.signIn ? await openAccounts(options, config.signIn, challenges) : undefined;
  const identify = parts?.identify ?? identifyWithoutAccounts(config.anonymousAccess);
  return {
    authorizer,
    async identify(ctx) {
      ctx.state.caller = await identify(ctx.req);
      const { name } = ctx.state.caller;
      if (name !== undefined) ctx.state.user = name;
    },
    tokenEndpoint: parts?.endpoint,
    close: async () => parts?.close(),
  };
}

interface Accounts {
  readonly identify: Identify;
  readonly endpoint: TokenEndpoint;
  close(): Promise<void>;
}

async function openAccounts(
  { config, db, redis, log }: AccessOptions,
  { usersFile: file, superUsers, secretKey }: SignInConfig,
  challenges: Challenges,
): Promise<Accounts> {
  const { anonymousAccess: access, libraryNamespace, serverHostname } = config;
  const watched = await WatchedUsers.open({ file, libraryNamespace, superUsers, log });
  const users = () => watched.current;
  const keys = new KeyRing({ keys: new SigningKeys(db), seal: new Seal(secretKey, 'entrepot signing keys'), log });
  await keys.open();
  const tokens = new Tokens(keys, challenges.service);
  const attempts = new Attempts(new Failures(redis));
  return {
    identify: identifyByToken({ access, users, tokens }),
    endpoint: tokenEndpoint({
      access,
      addresses: new ClientAddresses(config.trustedProxies),
      challenges,
      scopes: { libraryNamespace, serverHostname },
      signIn: new SignIn({ users, attempts, log, challenge: challenges.basic() }),
      tokens,
      users,
    }),
    async close() {
      await keys.close();
      await watched.close();
    },
  };
}
