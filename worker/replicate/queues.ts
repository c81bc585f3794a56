/** From which queues something can be copied now, and how much may be claimed from each. */
import type { Locations } from '../../lib/locations/locations.js';
import type { QueueRoom } from '../../lib/metadata/replication.js';
import type { Target } from './roster.js';
import type { QueueSlots, Slots } from './slots.js';

/** A target that can be written to, and the queues from which copies to it can be made now. */
export interface Usable {
  readonly target: Target;
  readonly queues: readonly QueueSlots[];
}

/**
 * The targets and queues that can be used now: both locations say so. What waits for a location that is away is not
 * claimed, so it takes no slots, and is found again at once when the location is back.
 */
export function usableQueues(targets: readonly Target[], locations: Locations, slots: Slots): Usable[] {
  const sources = locations.all.filter(location => location.serves('read')).map(location => location.name);
  return targets
    .filter(({ name }) => locations.get(name)?.serves('write'))
    .map(target => ({
      target,
      queues: [...sources, undefined]
        .filter(source => source !== target.name)
        .flatMap(source => [false, true].map(large => slots.of({ target: target.name, source, large }))),
    }));
}

/**
 * What may be claimed for a target in a round: in round 0, from all of its queues as much as they have slots for. If the
 * target's limit may be less than that, they take turns, one queue a round, beginning with another each `turn`.
 */
export function roomsIn({ target, queues }: Usable, slots: Slots, turn: number, round: number): QueueRoom[] {
  if (target.slots === undefined) {
    return round === 0 ? queues.filter(queue => queue.free > 0).map(queue => queue.room(queue.free)) : [];
  }
  const left = target.slots - slots.taken(target.name);
  const queue = round < queues.length ? queues[(turn + round) % queues.length] : undefined;
  return queue && left > 0 && queue.free > 0 ? [queue.room(Math.min(left, queue.free))] : [];
}

/** The queues from which more could be copied than is. */
export function idleQueues(usable: readonly Usable[], slots: Slots): QueueSlots[] {
  return usable.flatMap(({ target, queues }) => {
    const limit = target.slots ?? Number.POSITIVE_INFINITY;
    return slots.taken(target.name) < limit ? queues.filter(queue => queue.isIdle) : [];
  });
}
