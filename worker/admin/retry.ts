/** RetryReplication: what failed is tried again at once. */
import { Names } from '../../lib/metadata/names.js';
import { Replication } from '../../lib/metadata/replication.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { RetryReplicationRequest__Output } from '../../proto/generated/entrepot/admin/v1/RetryReplicationRequest.js';
import type { RetryReplicationResponse } from '../../proto/generated/entrepot/admin/v1/RetryReplicationResponse.js';
import { locationNamed } from './named.js';
import type { AdminParts } from './service.js';
import { asDigest } from './validate.js';

export function retryHandlers({ make, db, onQueued }: AdminParts): Pick<AdminHandlers, 'RetryReplication'> {
  const names = new Names(db);
  const replication = new Replication(db);
  return {
    RetryReplication: make.unary<RetryReplicationRequest__Output, RetryReplicationResponse>(
      async ({ location, digest }, { signal }) => {
        const place = await locationNamed(names, location);
        const only = digest === '' ? undefined : asDigest('digest', digest);
        let copies = 0;
        for (let some = 1; some > 0 && !signal.aborted; copies += some) some = await replication.retrySome(place, only);
        if (copies > 0) onQueued();
        return { copies };
      },
    ),
  };
}
