/** The store of a location that an operator names. */
import type { Locations } from '../../lib/locations/locations.js';
import type { RemoteStore } from '../../lib/locations/store.js';
import { fail } from '../../lib/rpc/errors.js';

/** Throws REFUSED if this worker's configuration does not have the location. */
export function storeOf(locations: Locations, name: string): RemoteStore {
  const location = locations.get(name);
  if (location) return location.store;
  throw fail.refused(
    `${name} is not in this worker's configuration: put it into DISTRIBUTED_STORAGE_CONFIG and ENTREPOT_LOCATIONS, or ask ` +
      'a worker that has it',
  );
}
