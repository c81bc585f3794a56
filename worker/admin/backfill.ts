/** BackfillReplication: queues what is required, missing, and not queued. */
import { Backfill, type BackfillFound, type BackfillScope } from '../../lib/metadata/backfill.js';
import { Names } from '../../lib/metadata/names.js';
import { Requeue } from '../../lib/metadata/requeue.js';
import { fail } from '../../lib/rpc/errors.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { BackfillReplicationRequest__Output } from '../../proto/generated/entrepot/admin/v1/BackfillReplicationRequest.js';
import type { BackfillReplicationResponse } from '../../proto/generated/entrepot/admin/v1/BackfillReplicationResponse.js';
import { locationNamed, namespaceNamed } from './named.js';
import type { AdminParts } from './service.js';

/** Progress comes so often, and at the end. */
const EVERY_MS = 1_000;

type Tally = Record<'queued' | 'alreadyQueued' | 'inSync', number>;

export function backfillHandlers({
  make,
  db,
  settings,
  onQueued,
}: AdminParts): Pick<AdminHandlers, 'BackfillReplication'> {
  const backfill = new Backfill(db);
  const requeue = new Requeue(db);
  const names = new Names(db);
  return {
    BackfillReplication: make.serverStream<BackfillReplicationRequest__Output, BackfillReplicationResponse>(
      async ({ location, namespace, dryRun, list }, send, { signal }) => {
        if (!settings.replicate) throw fail.replicationOff();
        const scope: BackfillScope = {
          location: await locationNamed(names, location),
          namespace: await namespaceNamed(names, namespace),
        };
        // What was pushed without replication is queued besides by the workers, who must not lose it if this call ends.
        if (location === '' && namespace === '' && !dryRun) await requeue.closeGap();

        const tallies = new Map<string, Tally>();
        for (const name of location === '' ? await names.locations() : [location]) tallies.set(name, tallyOf());
        let blobsTotal = await backfill.blobs();
        let blobsDone = 0;
        let saidAt = performance.now();
        const say = (done: boolean) => {
          saidAt = performance.now();
          blobsTotal = done ? blobsDone : Math.max(blobsTotal, blobsDone);
          const locations = [...tallies].map(([name, tally]) => ({ location: name, ...tally }));
          return send({ progress: { blobsDone, blobsTotal, locations, done } });
        };
        for (let after = 0; ; ) {
          signal.throwIfAborted();
          const step = await backfill.next(after, scope, { dryRun, list });
          if (!step) break;
          after = step.last;
          blobsDone += step.blobs;
          for (const found of step.locations) {
            add(tallies, found);
            for (const copy of found.copies) await send({ queued: { ...copy, location: found.location } });
          }
          if (!dryRun && step.locations.some(({ queued }) => queued > 0)) onQueued();
          if (performance.now() - saidAt >= EVERY_MS) await say(false);
        }
        await say(true);
      },
    ),
  };
}

function tallyOf(): Tally {
  return { queued: 0, alreadyQueued: 0, inSync: 0 };
}

function add(tallies: Map<string, Tally>, { location, queued, alreadyQueued, inSync }: BackfillFound): void {
  const tally = tallies.get(location) ?? tallyOf();
  tallies.set(location, tally);
  tally.queued += queued;
  tally.alreadyQueued += alreadyQueued;
  tally.inSync += inSync;
}
