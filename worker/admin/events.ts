/** WatchEvents: the replication events, in the order of their ids. */
import { setTimeout as sleep } from 'node:timers/promises';
import { EventFeed } from '../../lib/metadata/event-feed.js';
import type { ReplicationEvent } from '../../lib/metadata/events.js';
import { Names } from '../../lib/metadata/names.js';
import { namePair } from '../../lib/metadata/settings.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { WatchEventsRequest__Output } from '../../proto/generated/entrepot/admin/v1/WatchEventsRequest.js';
import type { WatchEventsResponse } from '../../proto/generated/entrepot/admin/v1/WatchEventsResponse.js';
import { locationNamed } from './named.js';
import type { AdminParts } from './service.js';
import { asLimit, asRepository } from './validate.js';

const POLL_MS = 500;

export function eventHandlers({ make, db, settings }: AdminParts): Pick<AdminHandlers, 'WatchEvents'> {
  const names = new Names(db);
  return {
    WatchEvents: make.serverStream<WatchEventsRequest__Output, WatchEventsResponse>(
      async ({ afterId, onlyNew, repository, location }, send, { signal }) => {
        const after = asLimit('after_id', afterId) ?? 0;
        const only = repository === '' ? undefined : asRepository('repository', repository);
        await locationNamed(names, location);
        const [namespace, name] = only ? namePair(settings, only) : [];
        const isWanted = (event: ReplicationEvent) =>
          (only === undefined || (event.namespace === namespace && event.repository === name)) &&
          (location === '' || event.location === location);
        const feed = onlyNew ? await EventFeed.fromNow(db) : new EventFeed(db, after);
        while (true) {
          signal.throwIfAborted();
          const { events, more } = await feed.next();
          for (const event of events.filter(isWanted)) await send(messageOf(event));
          if (!more) await sleep(POLL_MS, undefined, { signal });
        }
      },
    ),
  };
}

function messageOf(event: ReplicationEvent): WatchEventsResponse {
  const { id, namespace, repository, tag, digest, location, pushedAt, completedAt } = event;
  return {
    ...{ id, tag, digest, location },
    repository: `${namespace}/${repository}`,
    pushedAt: Date.parse(pushedAt),
    completedAt: Date.parse(completedAt),
  };
}
