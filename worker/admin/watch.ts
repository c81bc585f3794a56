/** WatchReplication: streams what is still open, until nothing is that was waited for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Names } from '../../lib/metadata/names.js';
import { isInSync, Watch } from '../../lib/metadata/watch.js';
import { fail } from '../../lib/rpc/errors.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { WatchReplicationRequest__Output } from '../../proto/generated/entrepot/admin/v1/WatchReplicationRequest.js';
import type { WatchReplicationResponse } from '../../proto/generated/entrepot/admin/v1/WatchReplicationResponse.js';
import { locationNamed } from './named.js';
import type { AdminParts } from './service.js';
import { asChoice, asLimit } from './validate.js';

const DEFAULT_INTERVAL_MS = 1_000;
/** The database is asked so often, that the end is told soon; less often if it takes long to answer. */
const POLL_MS = { least: 100, most: 1_000 };
/** The part of the time in which the database is busy with one watcher, at the most. */
const BUSY = 1 / 10;

const GOALS = {
  WATCH_GOAL_UNSPECIFIED: 'snapshot',
  WATCH_GOAL_SNAPSHOT: 'snapshot',
  WATCH_GOAL_EMPTY: 'empty',
} as const;

export function watchHandlers({ make, db, settings }: AdminParts): Pick<AdminHandlers, 'WatchReplication'> {
  const watch = new Watch(db);
  const names = new Names(db);
  return {
    WatchReplication: make.serverStream<WatchReplicationRequest__Output, WatchReplicationResponse>(
      async ({ goal, location, intervalMs, upTo: earlier }, send, { signal }) => {
        const interval = asLimit('interval_ms', intervalMs) ?? DEFAULT_INTERVAL_MS;
        const poll = Math.min(Math.max(interval, POLL_MS.least), POLL_MS.most);
        const given = asLimit('up_to', earlier);
        const upTo = asChoice('goal', goal, GOALS) === 'empty' ? undefined : (given ?? (await watch.newest()));
        let saidAt = Number.NEGATIVE_INFINITY;
        while (true) {
          signal.throwIfAborted();
          const askedAt = performance.now();
          const open = await watch.open(upTo, await locationNamed(names, location));
          const answeredAt = performance.now();
          const message = { locations: [...open.locations], openChanges: open.changes, upTo: upTo ?? 0 };
          if (isInSync(open)) return send({ ...message, inSync: true });
          // Nothing is copied: it would never end.
          if (!settings.replicate) throw fail.replicationOff();
          if (answeredAt - saidAt >= interval) {
            await send({ ...message, inSync: false });
            saidAt = answeredAt;
          }
          await sleep(Math.max(poll, (answeredAt - askedAt) / BUSY), undefined, { signal });
        }
      },
    ),
  };
}
