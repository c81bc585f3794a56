/** RetryReplication: what failed is tried again at once. */
import { retrySome } from '../../lib/metadata/backlog.js';
import { Names } from '../../lib/metadata/names.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { RetryReplicationRequest__Output } from '../../proto/generated/entrepot/admin/v1/RetryReplicationRequest.js';
import type { RetryReplicationResponse } from '../../proto/generated/entrepot/admin/v1/RetryReplicationResponse.js';
import { locationNamed } from './named.js';
import type { AdminParts } from './service.js';
import { asDigest } from './validate.js';

export function retryHandlers({ make, db, onQueued }: AdminParts): Pick<AdminHandlers, 'RetryReplication'> {
  const names = new Names(db);
  return {
    RetryReplication: make.unary<RetryReplicationRequest__Output, RetryReplicationResponse>(
      async ({ location, digest }, { signal }) => {
        const place = await locationNamed(names, location);
        const only = digest === '' ? undefined : asDigest('digest', digest);
        let copies = 0;
        for (let some = 1; some > 0 && !signal.aborted; copies += some) some = await retrySome(db, place, only);
        if (copies > 0) onQueued();
        return { copies };
      },
    ),
  };
}
