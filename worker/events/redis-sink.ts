/** Events over Redis: one JSON object for each, on one channel (docs/how-it-works.md, "Events"). */
import type { RedisCache } from '../../lib/cache/redis.js';
import type { ReplicationEvent } from '../../lib/metadata/events.js';
import type { EventSink } from './publisher.js';

const EVENT_CHANNEL = 'entrepot:events';

/** What a listener gets. */
export interface EventMessage extends ReplicationEvent {
  readonly event: 'image-arrived';
}

export class RedisSink implements EventSink {
  readonly #redis: RedisCache;

  constructor(redis: RedisCache) {
    this.#redis = redis;
  }

  publish(event: ReplicationEvent): Promise<boolean> {
    const message: EventMessage = { event: 'image-arrived', ...event };
    return this.#redis.publish(EVENT_CHANNEL, JSON.stringify(message));
  }
}
