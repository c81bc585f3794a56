/** The ids of what a request names. An empty name stands for all, and has none. */
import type { Names } from '../../lib/metadata/names.js';
import { fail } from '../../lib/rpc/errors.js';
import { asLocation, asNamespace } from './validate.js';

/** Throws LOCATION_UNKNOWN if there is none of that name. */
export async function locationNamed(names: Names, name: string): Promise<number | undefined> {
  if (name === '') return undefined;
  const id = await names.location(asLocation('location', name));
  if (id === undefined) throw fail.locationUnknown(name);
  return id;
}

/** Throws NAMESPACE_UNKNOWN if there is none of that name. */
export async function namespaceNamed(names: Names, name: string): Promise<number | undefined> {
  if (name === '') return undefined;
  const id = await names.namespace(asNamespace('namespace', name));
  if (id === undefined) throw fail.namespaceUnknown(name);
  return id;
}
