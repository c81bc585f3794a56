/** Which source a claimed copy is made from: by health, then by preference, among those that have a slot for it. */
import type { Location } from '../../lib/locations/location.js';
import type { Locations } from '../../lib/locations/locations.js';
import { BATCH_BLOBS, SMALL_BLOB_BYTES } from './batch.js';
import type { HeldJob } from './leases.js';
import type { QueueSlots, Slots } from './slots.js';

/**
 * Divides jobs among the queues in whose slots they will run, which need not be those that they were filed under. Each
 * job's sources begin with its queue's; those that follow are for when that one fails.
 */
export function divide(
  jobs: readonly HeldJob[],
  slots: Slots,
  locations: Locations,
): ReadonlyMap<QueueSlots, readonly HeldJob[]> {
  const divided = new Map<QueueSlots, HeldJob[]>();
  const hasRoom = (queue: QueueSlots) =>
    (divided.get(queue)?.length ?? 0) < queue.free * (queue.large ? 1 : BATCH_BLOBS);
  for (const job of jobs) {
    const { target } = job;
    const large = job.size > SMALL_BLOB_BYTES;
    const sources = sourcesOf(job, locations);
    const usable = sources.filter(source => source.serves('read'));
    const first =
      usable.find(({ name }) => hasRoom(slots.of({ target, source: name, large }))) ?? usable[0] ?? sources[0];
    const queue = slots.of({ target, source: first?.name, large });
    const names = first ? sources.slice(sources.indexOf(first)).map(source => source.name) : job.sources;
    const others = divided.get(queue) ?? [];
    others.push({ ...job, sources: names });
    divided.set(queue, others);
  }
  return divided;
}

/** A job that is begun at once, whether or not its sources have slots free: these in the order in which they are tried. */
export function inOrder(job: HeldJob, locations: Locations): HeldJob {
  const sources = sourcesOf(job, locations).map(({ name }) => name);
  return sources.length > 0 ? { ...job, sources } : job;
}

function sourcesOf({ sources, target }: HeldJob, locations: Locations): Location[] {
  return locations.forReading(sources.filter(name => name !== target));
}
