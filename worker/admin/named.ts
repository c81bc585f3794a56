/** What a request names, looked up. */
import type { Names } from '../../lib/metadata/names.js';
import { fail } from '../../lib/rpc/errors.js';
import { asLocation, asNamespace } from './validate.js';

/** A location that must be there. Throws LOCATION_UNKNOWN. */
export async function knownLocation(names: Names, name: string): Promise<string> {
  const location = asLocation('location', name);
  if ((await names.location(location)) === undefined) throw fail.locationUnknown(location);
  return location;
}

/** Its id; an empty name stands for all, and has none. Throws LOCATION_UNKNOWN if there is none of that name. */
export async function locationNamed(names: Names, name: string): Promise<number | undefined> {
  if (name === '') return undefined;
  const id = await names.location(asLocation('location', name));
  if (id === undefined) throw fail.locationUnknown(name);
  return id;
}

/** Likewise. Throws NAMESPACE_UNKNOWN if there is none of that name. */
export async function namespaceNamed(names: Names, name: string): Promise<number | undefined> {
  if (name === '') return undefined;
  const id = await names.namespace(asNamespace('namespace', name));
  if (id === undefined) throw fail.namespaceUnknown(name);
  return id;
}
