/**
 * `config.yaml` and the environment become one validated, immutable `Config`.
 *
 * The order: read what was given, check its keys, read each value; every mistake is collected, and only at the end either
 * all of them are thrown or the configuration is returned. What a role has no use for (the database in a storage-proxy,
 * an engine's arguments anywhere else) is not kept.
 */
import { isLoopback } from './address.js';
import { readAdminServers } from './admin.js';
import type { Address, Config, Role } from './config.js';
import { readDatabase } from './database.js';
import { readGrpc } from './grpc.js';
import { type Https, readHttps } from './https.js';
import { checkKeys, checkVariables } from './keys.js';
import { readLocations } from './locations.js';
import { Problems } from './problems.js';
import { Reader } from './reader.js';
import { readRedis } from './redis.js';
import { readSignIn, readTrustedProxies } from './sign-in.js';
import { configFile, type Environment, readSettings } from './source.js';
import { readTracing } from './tracing.js';

export { ConfigError, type Problem } from './problems.js';

/** What to load. */
export interface LoadOptions {
  /** The process that is being started: decides what is required and what is kept. */
  readonly role: Role;
  /** The file; if absent, the one named by `ENTREPOT_CONFIG`, or `/conf/stack/config.yaml`. */
  readonly file?: string | undefined;
  /** The environment, usually `process.env`. */
  readonly env: Environment;
}

/** Loads the configuration. Throws a `ConfigError` with all mistakes if there is any. */
export function loadConfig({ role, file: wantedFile, env }: LoadOptions): Config {
  const file = configFile(wantedFile, env);
  const problems = new Problems();
  const settings = readSettings(file, env, problems);
  problems.throwIfAny(file); // without a readable file everything else would be missing too

  const ignoredKeys = [...checkKeys(settings, problems)];
  const ignoredVariables = checkVariables(env, problems);
  const reader = new Reader(settings, problems);
  const config = readConfig(reader, role, env, file, ignoredKeys);
  problems.throwIfAny(file);
  return deepFreeze({ ...config, file, notices: notices(ignoredKeys, ignoredVariables) });
}

function readConfig(
  reader: Reader,
  role: Role,
  env: Environment,
  file: string,
  ignored: string[],
): Omit<Config, 'file' | 'notices'> {
  const anonymousAccess = reader.take('ENTREPOT_ANONYMOUS_ACCESS');
  const locations = readLocations(reader, role, env);
  const replication = reader.take('FEATURE_STORAGE_REPLICATION');
  const gatewayListen = readGatewayListen(reader, role);
  const listens = {
    storageProxyListen: reader.take('ENTREPOT_STORAGE_PROXY_LISTEN'),
    workerListen: reader.take('ENTREPOT_WORKER_LISTEN'),
  };
  return {
    role,
    serverHostname: reader.take('SERVER_HOSTNAME'),
    database: role === 'storage-proxy' ? undefined : readDatabase(reader),
    redis: role === 'storage-proxy' ? undefined : readRedis(reader, ignored),
    ...locations,
    replication,
    writeQuorum: readWriteQuorum(reader, locations.defaultLocations, replication),
    writeQuorumSeconds: reader.take('ENTREPOT_WRITE_QUORUM_SECONDS'),
    readOnly: reader.take('REGISTRY_STATE') === 'readonly',
    pushesDisabled: reader.take('DISABLE_PUSHES'),
    libraryNamespace: reader.take('LIBRARY_NAMESPACE'),
    maximumLayerSize: reader.take('MAXIMUM_LAYER_SIZE'),
    uploadExpiryMinutes: reader.take('BLOBUPLOAD_DELETION_DATE_THRESHOLD'),
    maximumManifestSize: reader.take('ENTREPOT_MAXIMUM_MANIFEST_SIZE'),
    sparseImages: reader.take('ENTREPOT_SPARSE_IMAGES'),
    anonymousAccess,
    signIn: readSignIn(reader, role),
    trustedProxies: readTrustedProxies(reader),
    proxyProtocolFrom: reader.take('ENTREPOT_PROXY_PROTOCOL_FROM'),
    gatewayListen,
    ...readScheme(reader, role, file, gatewayListen),
    ...listens,
    grpc: readGrpc(reader, role, { listen: grpcListener(role, listens), locations: locations.locations }),
    workerAdvertise: reader.take('ENTREPOT_WORKER_ADVERTISE'),
    adminServers: readAdminServers(reader),
    workerConcurrency: reader.take('ENTREPOT_WORKER_CONCURRENCY'),
    healthRequiresStorage: reader.take('ENTREPOT_HEALTH_REQUIRES_STORAGE'),
    shutdownDelaySeconds: reader.take('ENTREPOT_SHUTDOWN_DELAY_SECONDS'),
    metricsListen: reader.take('ENTREPOT_METRICS_LISTEN'),
    tracing: readTracing(reader, role, env),
    logLevel: reader.take('ENTREPOT_LOG_LEVEL'),
  };
}

function readWriteQuorum(reader: Reader, required: readonly string[], replication: boolean): number {
  const quorum = reader.take('ENTREPOT_WRITE_QUORUM');
  if (quorum === 1) return quorum;
  if (!replication) {
    reader.mistake('ENTREPOT_WRITE_QUORUM', 'needs copies to count: set FEATURE_STORAGE_REPLICATION to true');
  } else if (required.length > 0 && quorum > required.length) {
    const message = `no push could ever be acknowledged: blobs must be in ${required.length} locations (${required.join(', ')}: see DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS)`;
    reader.mistake('ENTREPOT_WRITE_QUORUM', message);
  }
  return quorum;
}

/** Whether it was said by name who may come from other machines, and what they may do. */
function isOpened(reader: Reader): boolean {
  return reader.raw('ENTREPOT_USERS_FILE') !== undefined || reader.raw('ENTREPOT_ANONYMOUS_ACCESS') !== undefined;
}

/** Without accounts, a gateway that was not told by name what strangers may do serves only its own machine. */
function readGatewayListen(reader: Reader, role: Role): Address {
  const opened = isOpened(reader);
  const listen = reader.take('ENTREPOT_GATEWAY_LISTEN', {
    host: opened ? '0.0.0.0' : '127.0.0.1',
    port: 8080,
  });
  if (role === 'gateway' && !opened && !isLoopback(listen.host)) {
    const message =
      'other machines could reach this address, and ENTREPOT_ANONYMOUS_ACCESS does not say what they may do: ' +
      'set that to none, pull or push, name an ENTREPOT_USERS_FILE, or listen on 127.0.0.1';
    reader.mistake('ENTREPOT_GATEWAY_LISTEN', message);
  }
  return listen;
}

function readScheme(reader: Reader, role: Role, file: string, http: Address): Https {
  if (role !== 'gateway') return { https: undefined, urlScheme: undefined };
  return readHttps(reader, file, http, isOpened(reader));
}

function grpcListener(
  role: Role,
  { storageProxyListen, workerListen }: Pick<Config, 'storageProxyListen' | 'workerListen'>,
) {
  if (role === 'storage-proxy') return { key: 'ENTREPOT_STORAGE_PROXY_LISTEN', address: storageProxyListen } as const;
  if (role === 'worker') return { key: 'ENTREPOT_WORKER_LISTEN', address: workerListen } as const;
  return undefined;
}

function notices(keys: readonly string[], variables: readonly string[]): string[] {
  const list: string[] = [];
  if (keys.length > 0) list.push(`These keys of Quay's mean nothing here and are ignored: ${keys.join(', ')}`);
  if (variables.length > 0)
    list.push(`These environment variables are no settings and are ignored: ${variables.join(', ')}`);
  return list;
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
