/** PauseLocation, ResumeLocation, SetLimits, Set- and ListNamespaceLocations: what is kept in the database, and in force within seconds. */
import { Namespaces } from '../../lib/metadata/namespaces.js';
import { Workers } from '../../lib/metadata/workers.js';
import { fail } from '../../lib/rpc/errors.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { ListNamespaceLocationsRequest__Output } from '../../proto/generated/entrepot/admin/v1/ListNamespaceLocationsRequest.js';
import type { ListNamespaceLocationsResponse } from '../../proto/generated/entrepot/admin/v1/ListNamespaceLocationsResponse.js';
import type { PauseLocationRequest__Output } from '../../proto/generated/entrepot/admin/v1/PauseLocationRequest.js';
import type { PauseLocationResponse } from '../../proto/generated/entrepot/admin/v1/PauseLocationResponse.js';
import type { ResumeLocationRequest__Output } from '../../proto/generated/entrepot/admin/v1/ResumeLocationRequest.js';
import type { ResumeLocationResponse } from '../../proto/generated/entrepot/admin/v1/ResumeLocationResponse.js';
import type { SetLimitsRequest__Output } from '../../proto/generated/entrepot/admin/v1/SetLimitsRequest.js';
import type { SetLimitsResponse } from '../../proto/generated/entrepot/admin/v1/SetLimitsResponse.js';
import type { SetNamespaceLocationsRequest__Output } from '../../proto/generated/entrepot/admin/v1/SetNamespaceLocationsRequest.js';
import type { SetNamespaceLocationsResponse } from '../../proto/generated/entrepot/admin/v1/SetNamespaceLocationsResponse.js';
import type { AdminParts } from './service.js';
import { asLimit, asLocation, asNamespace } from './validate.js';

type Calls = 'PauseLocation' | 'ResumeLocation' | 'SetLimits' | 'SetNamespaceLocations' | 'ListNamespaceLocations';

export function settingsHandlers({ make, db, settings, onQueued, log }: AdminParts): Pick<AdminHandlers, Calls> {
  const workers = new Workers(db);
  const namespaces = new Namespaces(db, settings);

  async function pause(name: string, paused: boolean): Promise<void> {
    const location = asLocation('location', name);
    if (!(await workers.setPaused(location, paused))) throw fail.locationUnknown(location);
    log.info({ location }, `an operator has ${paused ? 'paused' : 'resumed'} copying to this location`);
    onQueued();
  }

  return {
    PauseLocation: make.unary<PauseLocationRequest__Output, PauseLocationResponse>(async ({ location }) => {
      await pause(location, true);
      return {};
    }),

    ResumeLocation: make.unary<ResumeLocationRequest__Output, ResumeLocationResponse>(async ({ location }) => {
      await pause(location, false);
      return {};
    }),

    SetLimits: make.unary<SetLimitsRequest__Output, SetLimitsResponse>(async request => {
      const location = asLocation('location', request.location);
      const limits = {
        concurrency: asLimit('limits.concurrency', request.limits?.concurrency ?? 0),
        bytesPerSecond: asLimit('limits.bytes_per_second', request.limits?.bytesPerSecond ?? 0),
      };
      if (!(await workers.setLimits(location, limits))) throw fail.locationUnknown(location);
      log.info({ location, ...limits }, 'an operator has set the limits of copying to this location');
      return {};
    }),

    SetNamespaceLocations: make.unary<SetNamespaceLocationsRequest__Output, SetNamespaceLocationsResponse>(
      async ({ namespace, locations, replace }) => {
        const name = asNamespace('namespace', namespace);
        if (replace && locations.length === 0) {
          throw fail.malformed('locations must name one at least if they replace the default ones');
        }
        const [unknown] = await namespaces.setLocations(name, {
          locations: locations.map(each => asLocation('locations', each)),
          replace,
        });
        if (unknown !== undefined) throw fail.locationUnknown(unknown);
        log.info({ namespace: name, locations, replace }, "an operator has set where a namespace's blobs must be");
        onQueued();
        return {};
      },
    ),

    ListNamespaceLocations: make.serverStream<ListNamespaceLocationsRequest__Output, ListNamespaceLocationsResponse>(
      async ({ namespace }, send) => {
        const only = namespace === '' ? undefined : asNamespace('namespace', namespace);
        for (const { locations, ...each } of await namespaces.listed(only))
          await send({ ...each, locations: [...locations] });
      },
    ),
  };
}
