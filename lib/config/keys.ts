/**
 * The keys that mean something here. Every other key is either Quay's (`quay-keys.ts`: accepted, with one notice) or a
 * mistake: a setting that is silently without effect because of a slip of the keyboard is worse than a refusal to start.
 */
import { distance } from 'fastest-levenshtein';
import type { Problems } from './problems.js';
import { isQuayKey, QUAY_KEYS } from './quay-keys.js';
import type { KeySchema } from './schema/key.js';
import { KEYS } from './schema/schema.js';
import type { Environment, Settings } from './source.js';

/** All keys that mean something here: Quay's that have their meaning here too, and our own. */
export const MEANINGFUL_KEYS: readonly string[] = Object.keys(KEYS);

/** Our own keys: in the file, or in the environment under the same name. */
export const ENTREPOT_KEYS: readonly string[] = MEANINGFUL_KEYS.filter(key => key.startsWith('ENTREPOT_'));

/** Keys whose value is a plain text: in the environment it needs no YAML quoting. */
export const TEXT_KEYS: ReadonlySet<string> = new Set(
  Object.entries<KeySchema>(KEYS).flatMap(([key, { plain }]) => (plain ? [key] : [])),
);

/** The environment variable of Quay's that orders the locations; for a storage-proxy its first name is the one it owns. */
export const PREFERENCE_VARIABLE = 'QUAY_DISTRIBUTED_STORAGE_PREFERENCE';

/** Variables that are no settings: which file to read, how the process is ended (lib/process), the local stack's own. */
const PROCESS_VARIABLES = ['ENTREPOT_CONFIG', 'ENTREPOT_STOP_WITH_STDIN', 'ENTREPOT_POSTGRES_RUN_AS'];

/** What Kubernetes adds for a service that is called `entrepot…`: nobody wrote it, so it is nobody's mistake. */
const SERVICE_VARIABLE =
  /_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/;

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
