/** PauseLocation, ResumeLocation, SetLimits, SetNamespaceLocations: what is kept in the database, and in force within seconds. */
import { fail } from '../../lib/rpc/errors.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { SetLimitsRequest__Output } from '../../proto/generated/entrepot/admin/v1/SetLimitsRequest.js';
import type { SetLimitsResponse } from '../../proto/generated/entrepot/admin/v1/SetLimitsResponse.js';
import type { AdminParts } from './service.js';
import { asGiven, asLimit } from './validate.js';

export function settingsHandlers({ make, workers }: AdminParts): Pick<AdminHandlers, 'SetLimits'> {
  return {
    SetLimits: make.unary<SetLimitsRequest__Output, SetLimitsResponse>(async request => {
      const location = asGiven('location', request.location);
      const limits = {
        concurrency: asLimit('limits.concurrency', request.limits?.concurrency ?? 0),
        bytesPerSecond: asLimit('limits.bytes_per_second', request.limits?.bytesPerSecond ?? 0),
      };
      if (!(await workers.setLimits(location, limits))) throw fail.locationUnknown(location);
      return {};
    }),
  };
}
