/**
 * The last bytes of a stream, for readers at their own pace: what does not fit any more is gone, and nobody is waited
 * for.
 *
 * Bytes are copied in and out: the memory of what comes in is its reader's, and used again at once. Kept in blocks that
 * are used again too, since what lives for a while and then dies is what costs V8 most.
 */
import { FRAME_BYTES } from '../../lib/rpc/channel.js';

const BLOCK_BYTES = 1024 * 1024;

/** What one ring keeps at the most. */
const MOST_BLOCKS = 16;
export const RING_BYTES = MOST_BLOCKS * BLOCK_BYTES;

/** What all rings of a process keep together, beyond the least that each has in any case. */
const ALL_BLOCKS = 128;
const LEAST_BLOCKS = 2;

/** Blocks that wait to be used again, at the most. */
const SPARE_BLOCKS = 32;

/** The memory that the rings of a process share. */
export class RingMemory {
  #used = 0;
  #spare: Buffer[] = [];

  /** Blocks in use. */
  get used(): number {
    return this.#used;
  }

  take(): Buffer {
    this.#used++;
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
  }

  give(blocks: readonly Buffer[]): void {
    this.#used -= blocks.length;
    this.#spare.push(...blocks);
    // With the last ring all of it goes.
    this.#spare.length = this.#used === 0 ? 0 : Math.min(this.#spare.length, SPARE_BLOCKS);
  }
}

export class Ring {
  readonly #memory: RingMemory;
  #blocks: Buffer[] = [];
  /** Where in the stream the first block begins. */
  #start = 0;
  #end = 0;

  constructor(memory: RingMemory) {
    this.#memory = memory;
  }

  /** Where the bytes that are kept begin, and where they end. */
  get start(): number {
    return this.#start;
  }
  get end(): number {
    return this.#end;
  }

  /** What it takes of the memory. */
  get keptBytes(): number {
    return this.#blocks.length * BLOCK_BYTES;
  }

  /** Forgets everything; the next bytes are those from `offset` on. */
  restart(offset: number): void {
    this.#memory.give(this.#blocks.splice(0));
    this.#start = offset;
    this.#end = offset;
  }

  push(data: Buffer): void {
    for (let at = 0; at < data.length; ) {
      const used = this.#end - this.#start;
      if (used === this.#blocks.length * BLOCK_BYTES) this.#grow();
      const block = this.#blocks.at(-1);
      const copied = block ? data.copy(block, (this.#end - this.#start) % BLOCK_BYTES, at) : 0;
      at += copied;
      this.#end += copied;
    }
  }

  /** Some bytes from `offset` on, a frame at the most; undefined if they are gone, or have not come yet. */
  from(offset: number): Buffer | undefined {
    if (offset < this.#start || offset >= this.#end) return undefined;
    const at = offset - this.#start;
    const block = this.#blocks[Math.floor(at / BLOCK_BYTES)];
    const first = at % BLOCK_BYTES;
    return block && Buffer.from(block.subarray(first, first + Math.min(FRAME_BYTES, this.#end - offset)));
  }

  /** Adds a block, once the last one is full; the oldest one goes if there are too many. */
  #grow(): void {
    const isPoor = this.#blocks.length >= LEAST_BLOCKS && this.#memory.used >= ALL_BLOCKS;
    if (this.#blocks.length === MOST_BLOCKS || isPoor) {
      this.#memory.give(this.#blocks.splice(0, 1));
      this.#start += BLOCK_BYTES;
    }
    this.#blocks.push(this.#memory.take());
  }
}
