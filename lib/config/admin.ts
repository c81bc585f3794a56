/**
 * What the `entrepot` command needs to ask a worker: where one is, and how they make sure of each other.
 *
 * It must work in the environment of any process, also of one whose configuration has nothing but its own location: so
 * only the keys that matter here are read, and no others are required or judged.
 */
import { existsSync } from 'node:fs';
import { formatAddress } from './address.js';
import type { Address, GrpcConfig } from './config.js';
import { readAuthorityAlone, readGrpc } from './grpc.js';
import { Problems } from './problems.js';
import { Reader } from './reader.js';
import { KEYS } from './schema/schema.js';
import { configFile, type Environment, readSettings } from './source.js';

/** Where a worker listens if nothing is said: where the command looks, too. */
const DEFAULT_WORKER_LISTEN: Address = KEYS.ENTREPOT_WORKER_LISTEN.absent;

export interface AdminAccess {
  /**
   * The addresses to try, in this order: where a worker of this environment listens (`ENTREPOT_WORKER_LISTEN`), then
   * `ENTREPOT_ADMIN_SERVERS`; without either, where a worker listens by default. Never empty.
   */
  readonly servers: readonly string[];
  /** Nothing was said about where a worker listens. */
  readonly isGuess: boolean;
  readonly grpc: GrpcConfig;
  /** `ENTREPOT_ADMIN_TOKEN`: never log it. */
  readonly token: string | undefined;
  /** The path of `ENTREPOT_GRPC_TLS_CA` where a token takes the place of a certificate; then `grpc` has none. */
  readonly authority: string | undefined;
}

const WITHOUT_CERTIFICATE: GrpcConfig = { tls: undefined, insecure: false, administrators: [], adminTokens: [] };

/** Reads it. Throws a `ConfigError`. */
export function loadAdminAccess(file: string | undefined, env: Environment): AdminAccess {
  const path = configFile(file, env);
  const wanted = file !== undefined || Boolean(env.ENTREPOT_CONFIG) || existsSync(path);
  const problems = new Problems();
  const reader = new Reader(readSettings(wanted ? path : undefined, env, problems), problems);
  const own = reader.take('ENTREPOT_WORKER_LISTEN', undefined);
  const others = readAdminServers(reader);
  const token = readAdminToken(reader);
  const authority = token === undefined ? undefined : readAuthorityAlone(reader);
  const grpc = authority ? WITHOUT_CERTIFICATE : readGrpc(reader, 'cli', { listen: undefined, locations: [] });
  problems.throwIfAny(path);
  const all = [...(own && own.port > 0 ? [reachedAt(own)] : []), ...others];
  const servers = all.length > 0 ? [...new Set(all)] : [formatAddress(DEFAULT_WORKER_LISTEN)];
  return { servers, isGuess: all.length === 0, grpc, token, authority };
}

export function readAdminServers(reader: Reader): readonly string[] {
  return reader.take('ENTREPOT_ADMIN_SERVERS');
}

function readAdminToken(reader: Reader): string | undefined {
  return reader.take('ENTREPOT_ADMIN_TOKEN');
}

/** How a process on the same machine reaches what listens there. */
function reachedAt({ host, port }: Address): string {
  if (host === '0.0.0.0') return formatAddress({ host: '127.0.0.1', port });
  return formatAddress({ host: host === '::' ? '::1' : host, port });
}
