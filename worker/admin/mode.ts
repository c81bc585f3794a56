/** SetMode: what the whole registry takes. */
import { inForce, Modes } from '../../lib/metadata/mode.js';
import { fail } from '../../lib/rpc/errors.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { SetModeRequest__Output } from '../../proto/generated/entrepot/admin/v1/SetModeRequest.js';
import type { SetModeResponse } from '../../proto/generated/entrepot/admin/v1/SetModeResponse.js';
import type { AdminParts } from './service.js';
import { asRemark } from './validate.js';

export function modeHandlers({ make, db, configuredMode, log }: AdminParts): Pick<AdminHandlers, 'SetMode'> {
  const modes = new Modes(db);
  return {
    SetMode: make.unary<SetModeRequest__Output, SetModeResponse>(async ({ mode }) => {
      // An empty request would open the registry by mistake.
      if (!mode) throw fail.malformed('mode is missing; {"mode": {}} takes everything again');
      const set = { ...mode, reason: asRemark('mode.reason', mode.reason) };
      await modes.set(set);
      log.warn(set, 'an operator has set what the registry takes');
      return { mode: { ...inForce(await modes.get(), configuredMode) } };
    }),
  };
}
