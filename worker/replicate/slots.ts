/**
 * How many copies run at a time.
 *
 * Each queue (from one location to another, small or large) has slots of its own, that no other one can take: a source
 * that is slow or dead holds up what comes from it, and nothing else; batches of small blobs and large blobs never wait
 * for each other. A limit of the target is on top of that, over all its queues together.
 */
import type { Queue, QueueRoom } from '../../lib/metadata/replication.js';
import type { Digest } from '../../lib/oci/digest.js';
import { BATCH_BLOBS, BATCH_BYTES } from './batch.js';
import type { HeldJob } from './leases.js';

/**
 * Copies that nothing is known to come from: what stands in the target, unverified, is hashed there; others fail, and are
 * tried again in case there is something.
 */
const SLOTS_WITHOUT_SOURCE = 4;

/** One queue, and its slots on this worker. */
export class QueueSlots implements Queue {
  readonly target: string;
  readonly source: string | undefined;
  readonly large: boolean;
  readonly #count: number;
  running = 0;
  /** What is claimed and waits for a slot: batches of small blobs, or large ones, one each. */
  readonly waiting: HeldJob[][] = [];

  constructor({ target, source, large }: Queue, concurrency: number) {
    this.target = target;
    this.source = source;
    this.large = large;
    this.#count = source === undefined ? SLOTS_WITHOUT_SOURCE : concurrency;
  }

  /** How much may be claimed, in slots: batches of small blobs also for when the next slot is free, which saves round trips. */
  get free(): number {
    const claimed = this.large ? this.#count : 2 * this.#count;
    return Math.max(0, claimed - this.running - this.waiting.length);
  }

  /** Whether there are slots that nothing runs in and nothing waits for. */
  get isIdle(): boolean {
    return this.running + this.waiting.length < this.#count;
  }

  /** Takes what is to be started next, if there is a slot for it. */
  next(): HeldJob[] | undefined {
    return this.running < this.#count ? this.waiting.shift() : undefined;
  }

  /** What may be claimed for so many slots. */
  room(slots: number): QueueRoom {
    const most = this.large
      ? { rows: slots, bytes: Number.MAX_SAFE_INTEGER }
      : { rows: slots * BATCH_BLOBS, bytes: slots * BATCH_BYTES };
    return { target: this.target, source: this.source, large: this.large, ...most };
  }
}

/** The slots of all queues. */
export class Slots {
  readonly #concurrency: number;
  readonly #queues = new Map<string, QueueSlots>();

  /** `concurrency`: how many large copies, and how many batches, run at a time from one location to another. */
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  /** All queues that were ever asked for. */
  get all(): Iterable<QueueSlots> {
    return this.#queues.values();
  }

  of(queue: Queue): QueueSlots {
    const key = `${queue.source ?? ''} ${queue.target} ${queue.large}`;
    let slots = this.#queues.get(key);
    if (!slots) {
      slots = new QueueSlots(queue, this.#concurrency);
      this.#queues.set(key, slots);
    }
    return slots;
  }

  /** Takes a job out of the batch in which it waits for a slot. */
  takeWaiting(digest: Digest, target: string): HeldJob | undefined {
    for (const { waiting } of this.all) {
      for (const batch of waiting) {
        const at = batch.findIndex(job => job.digest === digest && job.target === target);
        if (at >= 0) return batch.splice(at, 1)[0];
      }
    }
    return undefined;
  }

  /** How many copies run to a target. */
  running(target: string): number {
    return this.#sum(target, queue => queue.running);
  }

  /** How many run or wait for a slot. */
  taken(target: string): number {
    return this.#sum(target, queue => queue.running + queue.waiting.length);
  }

  #sum(target: string, count: (queue: QueueSlots) => number): number {
    return [...this.all].reduce((sum, queue) => sum + (queue.target === target ? count(queue) : 0), 0);
  }
}
