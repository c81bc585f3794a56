/** The locations as a process sees them: where their nodes are, in which order they are preferred, where blobs must be. */
import type { LocationConfig, OwnedLocation, Role } from './config.js';
import { mostSimilar, PREFERENCE_VARIABLE } from './keys.js';
import type { Reader } from './reader.js';
import type { Key } from './schema/schema.js';
import type { Environment } from './source.js';
import { checkEngine, checkEngines, checkStorage, readLocationNames, readOwnedLocation } from './storage.js';
import { splitNames } from './values.js';

/** The part of the configuration that is about locations. */
export interface Locations {
  readonly locations: readonly LocationConfig[];
  readonly preference: readonly string[];
  readonly defaultLocations: readonly string[];
  readonly workerLocations: readonly string[];
  readonly owned: OwnedLocation | undefined;
}

/** Reads everything about locations. */
export function readLocations(reader: Reader, role: Role, env: Environment): Locations {
  if (role !== 'cli' || reader.raw('DISTRIBUTED_STORAGE_CONFIG')) checkStorage(reader);
  const all = readLocationNames(reader);
  if (role === 'cli') checkEngines(reader);
  const locations = readNodes(reader, all, role);
  const preferred = readPreference(reader, all, env);
  const preference = [...preferred, ...all.filter(name => !preferred.includes(name))];

  // For Quay an empty list is the same as none.
  const defaults = readNames(reader, 'DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS', all);
  const ofWorker = readNames(reader, 'ENTREPOT_WORKER_LOCATIONS', all);
  return {
    locations,
    preference,
    defaultLocations: defaults.length > 0 ? defaults : all,
    workerLocations: ofWorker.length > 0 ? ofWorker : preference.slice(0, 1),
    owned: role === 'storage-proxy' ? readOwned(reader, all, preferred, env) : undefined,
  };
}

function readNodes(reader: Reader, all: readonly string[], role: Role): LocationConfig[] {
  const key = 'ENTREPOT_LOCATIONS';
  const given = new Map(Object.entries(reader.take(key)));
  for (const name of given.keys()) checkName(reader, key, name, all, [name]);
  checkSharedNodes(reader, given);

  const locations = all.map(name => ({ name, nodes: given.get(name)?.nodes ?? [] }));
  const without = locations.filter(location => location.nodes.length === 0).map(location => location.name);
  if ((role === 'gateway' || role === 'worker') && without.length > 0 && !isUnusable(reader, given)) {
    const example = without.map(name => `${name}: {nodes: [HOST:7070]}`).join(', ');
    reader.mistake(
      key,
      `names no nodes for ${without.join(', ')}; write ${key}: {${example}} with the addresses of their storage-proxies`,
    );
  }
  return locations;
}

/** Whether the key was given and nothing of it could be used: then its own mistakes are enough to read. */
function isUnusable(reader: Reader, given: ReadonlyMap<string, unknown>): boolean {
  const value = reader.raw('ENTREPOT_LOCATIONS')?.value;
  const empty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
  return value !== undefined && !empty && given.size === 0;
}

/** A node serves one location: the same address under two names would make one of them a lie. */
function checkSharedNodes(reader: Reader, given: ReadonlyMap<string, { readonly nodes: readonly string[] }>): void {
  const owner = new Map<string, string>();
  for (const [name, { nodes }] of given) {
    for (const [index, node] of nodes.entries()) {
      const other = owner.get(node);
      if (other !== undefined)
        reader.mistake('ENTREPOT_LOCATIONS', `${node} is given for ${other} already; a node serves one location`, [
          name,
          'nodes',
          index,
        ]);
      else owner.set(node, name);
    }
  }
}

function readPreference(reader: Reader, all: readonly string[], env: Environment): readonly string[] {
  const fromEnvironment = splitNames(env[PREFERENCE_VARIABLE] ?? '');
  if (fromEnvironment.length === 0) return readNames(reader, 'DISTRIBUTED_STORAGE_PREFERENCE', all);
  const known = fromEnvironment.filter(name => all.includes(name));
  for (const name of fromEnvironment) {
    if (!all.includes(name) && all.length > 0) reader.problems.add(PREFERENCE_VARIABLE, unknownName(name, all));
  }
  return [...new Set(known)];
}

/** The keys whose value is a list of locations. */
type NamesKey = Extract<
  Key,
  'DISTRIBUTED_STORAGE_PREFERENCE' | 'DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS' | 'ENTREPOT_WORKER_LOCATIONS'
>;

/** The names of a list that are known, each once; the others are noted. Empty if the key is absent. */
function readNames(reader: Reader, key: NamesKey, all: readonly string[]): readonly string[] {
  const list = reader.take(key);
  return [...new Set(list.filter((name, index) => checkName(reader, key, name, all, [index])))];
}

function checkName(
  reader: Reader,
  key: Key,
  name: string,
  all: readonly string[],
  path: readonly PropertyKey[],
): boolean {
  if (all.includes(name)) return true;
  // Without any location one mistake was noted already; not one more for each name.
  if (all.length > 0) reader.mistake(key, unknownName(name, all), path);
  return false;
}

function unknownName(name: string, all: readonly string[]): string {
  const similar = mostSimilar(name, all);
  const advice = similar ? `; did you mean ${similar}?` : ` (which has ${all.join(', ')})`;
  return `there is no location ${name} in DISTRIBUTED_STORAGE_CONFIG${advice}`;
}

function readOwned(
  reader: Reader,
  all: readonly string[],
  preferred: readonly string[],
  env: Environment,
): OwnedLocation | undefined {
  const name = preferred[0] ?? (all.length === 1 ? all[0] : undefined);
  if (name !== undefined) {
    checkEngine(reader, name);
    return readOwnedLocation(reader, name);
  }
  // One that names nothing that is there was noted already.
  const listed = reader.raw('DISTRIBUTED_STORAGE_PREFERENCE')?.value;
  const isGiven = Boolean(env[PREFERENCE_VARIABLE]) || (Array.isArray(listed) && listed.length > 0);
  if (all.length > 1 && !isGiven) {
    const message = `is missing: a storage-proxy owns the location that it names first; set it to one of ${all.join(', ')}`;
    reader.problems.add(PREFERENCE_VARIABLE, message);
  }
  return undefined;
}
