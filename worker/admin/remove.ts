/** RemoveLocation. */
import { LocationWork } from '../../lib/metadata/location-work.js';
import { Removal } from '../../lib/metadata/removal.js';
import { fail } from '../../lib/rpc/errors.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { RemoveLocationRequest__Output } from '../../proto/generated/entrepot/admin/v1/RemoveLocationRequest.js';
import type { RemoveLocationResponse } from '../../proto/generated/entrepot/admin/v1/RemoveLocationResponse.js';
import { PATIENCE } from '../remove-location/drain.js';
import type { RemovalEvent, RemovePhase } from '../remove-location/events.js';
import { removeLocation } from '../remove-location/remove-location.js';
import type { AdminParts } from './service.js';
import { asLocation } from './validate.js';

const PHASES = {
  draining: 'REMOVE_PHASE_DRAINING',
  'deleting placements': 'REMOVE_PHASE_DELETING_PLACEMENTS',
  'deleting objects': 'REMOVE_PHASE_DELETING_OBJECTS',
  done: 'REMOVE_PHASE_DONE',
} as const satisfies Record<RemovePhase, string>;

export function removeHandlers(parts: AdminParts): Pick<AdminHandlers, 'RemoveLocation'> {
  const { db, settings, locations, onQueued, log, make } = parts;
  const removing = {
    ...{ locations, onQueued, log },
    removal: new Removal(db),
    work: new LocationWork(db),
    replicate: settings.replicate,
    patience: PATIENCE,
  };
  return {
    RemoveLocation: make.serverStream<RemoveLocationRequest__Output, RemoveLocationResponse>(
      async (request, send, { signal }) => {
        const { confirm, dryRun, force, deleteObjects, giveUp } = request;
        const location = asLocation('location', request.location);
        if (dryRun && giveUp) throw fail.malformed('dry_run and give_up cannot be asked for together');
        if (!dryRun && !giveUp && confirm !== location) {
          throw fail.malformed('confirm must be the name of the location once more: this cannot be undone');
        }
        if (!dryRun && !giveUp) log.warn({ location, force, deleteObjects }, 'an operator has a location removed');
        const events = removeLocation(removing, { location, dryRun, force, deleteObjects, giveUp }, signal);
        for await (const event of events) await send(asResponse(event));
      },
    ),
  };
}

function asResponse(event: RemovalEvent): RemoveLocationResponse {
  switch (event.kind) {
    case 'progress':
      return { progress: { ...event.progress, phase: PHASES[event.progress.phase] } };
    case 'deleted':
      return { deletedPlacement: event.placement };
    case 'broken':
      return { broken: event.image };
    case 'removed':
      return { deletedLocation: event.location };
  }
}
