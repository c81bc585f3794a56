/** ListLocations: what holds each location, how it does, and what is missing there. */
import type { Locations } from '../../lib/locations/locations.js';
import { inForce, type Mode, Modes } from '../../lib/metadata/mode.js';
import { type LivingProcess, Processes } from '../../lib/metadata/processes.js';
import { type LocationRow, readStatus, type Status } from '../../lib/metadata/status.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { ListLocationsRequest__Output } from '../../proto/generated/entrepot/admin/v1/ListLocationsRequest.js';
import type { ListLocationsResponse } from '../../proto/generated/entrepot/admin/v1/ListLocationsResponse.js';
import type { LocationStatus } from '../../proto/generated/entrepot/admin/v1/LocationStatus.js';
import type { AdminParts } from './service.js';

export function locationHandlers(parts: AdminParts): Pick<AdminHandlers, 'ListLocations'> {
  const { make, db, locations, configuredMode } = parts;
  const processes = new Processes(db);
  const modes = new Modes(db);
  return {
    ListLocations: make.unary<ListLocationsRequest__Output, ListLocationsResponse>(async () => {
      const [status, living, mode] = await Promise.all([readStatus(db), processes.living(), modes.get()]);
      return answer(status, living, inForce(mode, configuredMode), locations);
    }),
  };
}

function answer(
  { locations: rows, openChanges }: Status,
  living: readonly LivingProcess[],
  mode: Mode,
  locations: Locations,
): ListLocationsResponse {
  return {
    locations: rows.map(row => statusOf(row, locations)),
    openChanges,
    processes: living.map(process => ({ ...process })),
    configurationsDiffer: new Set(living.map(process => process.configHash)).size > 1,
    mode: { ...mode },
    inSync: openChanges === 0 && rows.every(row => row.missing === 0),
  };
}

/** What the database says of a location, and how it looks from here. */
function statusOf(row: LocationRow, locations: Locations): LocationStatus {
  const { state, limits, orphaned, workers, lastError, ...counts } = row;
  const here = locations.get(row.name);
  return {
    ...counts,
    state: STATES[state],
    notConfigured: here === undefined,
    engine: here?.engine ?? '',
    readable: here?.serves('read') ?? false,
    writable: here?.serves('write') ?? false,
    lastError: lastError ?? '',
    limits: { concurrency: limits.concurrency ?? 0, bytesPerSecond: limits.bytesPerSecond ?? 0 },
    workers: [...workers],
    takenOver: orphaned,
  };
}

const STATES = {
  active: 'LOCATION_STATE_ACTIVE',
  draining: 'LOCATION_STATE_DRAINING',
  removing: 'LOCATION_STATE_REMOVING',
} as const;
