/**
 * The keys that mean something here. Every other key is either Quay's (`quay-keys.ts`: accepted, with one notice) or a
 * mistake: a setting that is silently without effect because of a slip of the keyboard is worse than a refusal to start.
 */
import { distance } from 'fastest-levenshtein';
import type { Problems } from './problems.js';
import { isQuayKey, QUAY_KEYS } from './quay-keys.js';
import type { Environment, Settings } from './source.js';

/** Quay's keys that have their meaning here too. */
const SHARED_KEYS = [
  'SERVER_HOSTNAME',
  'DB_URI',
  'DB_CONNECTION_ARGS',
  'BUILDLOGS_REDIS',
  'USER_EVENTS_REDIS',
  'DISTRIBUTED_STORAGE_CONFIG',
  'DISTRIBUTED_STORAGE_PREFERENCE',
  'DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS',
  'FEATURE_STORAGE_REPLICATION',
  'LIBRARY_NAMESPACE',
  'SUPER_USERS',
  'DATABASE_SECRET_KEY',
  'MAXIMUM_LAYER_SIZE',
  'BLOBUPLOAD_DELETION_DATE_THRESHOLD',
  'PREFERRED_URL_SCHEME',
  'EXTERNAL_TLS_TERMINATION',
  'REGISTRY_STATE',
  'DISABLE_PUSHES',
  'FEATURE_OTEL_TRACING',
  'OTEL_CONFIG',
  // Not Quay's: another spelling of ENTREPOT_DB_LISTEN_URI, beside DB_URI.
  'DB_LISTEN_URI',
] as const;

/** Our own keys: in the file, or in the environment under the same name. */
export const ENTREPOT_KEYS = [
  'ENTREPOT_LOCATIONS',
  'ENTREPOT_ANONYMOUS_ACCESS',
  'ENTREPOT_USERS_FILE',
  'ENTREPOT_DATABASE_SECRET_KEY',
  'ENTREPOT_TRUSTED_PROXIES',
  'ENTREPOT_GATEWAY_LISTEN',
  'ENTREPOT_GATEWAY_TLS_LISTEN',
  'ENTREPOT_STORAGE_PROXY_LISTEN',
  'ENTREPOT_WORKER_LISTEN',
  'ENTREPOT_WORKER_LOCATIONS',
  'ENTREPOT_WORKER_CONCURRENCY',
  'ENTREPOT_WORKER_ADVERTISE',
  'ENTREPOT_ADMIN_SERVERS',
  'ENTREPOT_ADMIN_TOKEN',
  'ENTREPOT_WRITE_QUORUM',
  'ENTREPOT_WRITE_QUORUM_SECONDS',
  'ENTREPOT_HEALTH_REQUIRES_STORAGE',
  'ENTREPOT_METRICS_LISTEN',
  'ENTREPOT_MAXIMUM_MANIFEST_SIZE',
  'ENTREPOT_SPARSE_IMAGES',
  'ENTREPOT_GRPC_TLS_CA',
  'ENTREPOT_GRPC_TLS_CERT',
  'ENTREPOT_GRPC_TLS_KEY',
  'ENTREPOT_INSECURE_GRPC',
  'ENTREPOT_ADMINISTRATORS',
  'ENTREPOT_ADMIN_TOKENS',
  'ENTREPOT_DB_LISTEN_URI',
  'ENTREPOT_DB_POOL_SIZE',
  'ENTREPOT_LOG_LEVEL',
] as const;

/** A key that means something here. */
export type Key = (typeof SHARED_KEYS)[number] | (typeof ENTREPOT_KEYS)[number];

/** Keys whose value is a plain text: in the environment it needs no YAML quoting. */
export const TEXT_KEYS: ReadonlySet<string> = new Set<Key>([
  'ENTREPOT_ANONYMOUS_ACCESS',
  'ENTREPOT_USERS_FILE',
  'ENTREPOT_DATABASE_SECRET_KEY',
  'ENTREPOT_GATEWAY_LISTEN',
  'ENTREPOT_GATEWAY_TLS_LISTEN',
  'ENTREPOT_STORAGE_PROXY_LISTEN',
  'ENTREPOT_GRPC_TLS_CA',
  'ENTREPOT_GRPC_TLS_CERT',
  'ENTREPOT_GRPC_TLS_KEY',
  'ENTREPOT_WORKER_LISTEN',
  'ENTREPOT_WORKER_ADVERTISE',
  'ENTREPOT_ADMIN_TOKEN',
  'ENTREPOT_METRICS_LISTEN',
  'ENTREPOT_DB_LISTEN_URI',
  'ENTREPOT_LOG_LEVEL',
]);

/** The environment variable of Quay's that orders the locations; for a storage-proxy its first name is the one it owns. */
export const PREFERENCE_VARIABLE = 'QUAY_DISTRIBUTED_STORAGE_PREFERENCE';

/** Variables that are no settings: which file to read, how the process is ended (lib/process), the local stack's own. */
const PROCESS_VARIABLES = ['ENTREPOT_CONFIG', 'ENTREPOT_STOP_WITH_STDIN', 'ENTREPOT_POSTGRES_RUN_AS'];

/** What Kubernetes adds for a service that is called `entrepot…`: nobody wrote it, so it is nobody's mistake. */
const SERVICE_VARIABLE =
  /_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/;

/** All keys that mean something here. */
export const MEANINGFUL_KEYS: readonly string[] = [...SHARED_KEYS, ...ENTREPOT_KEYS];
const VARIABLES: readonly string[] = [...ENTREPOT_KEYS, ...PROCESS_VARIABLES, PREFERENCE_VARIABLE];

/** Reports the file's keys that are unknown or misspelt. Returns Quay's keys that are accepted and mean nothing here. */
export function checkKeys(settings: Settings, problems: Problems): readonly string[] {
  const known = new Set(MEANINGFUL_KEYS);
  const ignored: string[] = [];
  for (const key of settings.keys()) {
    if (known.has(key)) continue;
    if (isQuayKey(key)) {
      ignored.push(key);
      continue;
    }
    const similar = mostSimilar(key, [...MEANINGFUL_KEYS, ...QUAY_KEYS]);
    const advice = similar ? `did you mean ${similar}?` : 'neither Entrepot nor Quay has it; remove it';
    problems.add(key, `unknown key; ${advice}`);
  }
  return ignored;
}

/** Reports misspelt environment variables. Returns those that start with `ENTREPOT_` and resemble nothing. */
export function checkVariables(env: Environment, problems: Problems): readonly string[] {
  const ignored: string[] = [];
  for (const name of Object.keys(env)) {
    if (!/^(ENTREPOT_(?!TEST_)|QUAY_)/.test(name) || VARIABLES.includes(name) || SERVICE_VARIABLE.test(name)) continue;
    const similar = mostSimilar(name, VARIABLES);
    if (similar) problems.add(name, `unknown environment variable; did you mean ${similar}?`);
    else if (name.startsWith('ENTREPOT_')) ignored.push(name);
  }
  return ignored;
}

/** The candidate that `name` is most likely a misspelling of; undefined if none is near. Letter case does not count. */
export function mostSimilar(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = name.toUpperCase();
  let best: string | undefined;
  // One slip in four letters, and at least two (two letters swapped count as two).
  let bestDistance = Math.max(2, Math.floor(wanted.length / 4)) + 1;
  for (const candidate of candidates) {
    const d = distance(wanted, candidate.toUpperCase());
    if (d < bestDistance) [best, bestDistance] = [candidate, d];
  }
  return best;
}
