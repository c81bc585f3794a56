/**
 * One append: turns pieces of any size into parts.
 *
 * Memory: one buffer that is being filled, and those of the parts that are on their way to the store (growing.ts).
 */
import { fail } from '../../../lib/rpc/errors.js';
import type { Buffers } from './buffers.js';
import { GrowingUpload, type Moment, type Start } from './growing.js';
import type { Own } from './own.js';
import type { Staging } from './staging.js';

export class Writer {
  readonly #growing: GrowingUpload;
  readonly #buffers: Buffers;
  readonly #minPartBytes: number;
  #buffer: Buffer | undefined;
  /** Where the next byte goes in the buffer. Its beginning is kept free for the upload's loose bytes. */
  #at: number;
  /** How many bytes of the loose ones belong before those in the buffer. */
  #base: number;

  constructor(
    staging: Staging,
    buffers: Buffers,
    start: Start,
    onMoment: (moment: Moment) => void,
    signal: AbortSignal | undefined,
  ) {
    this.#growing = new GrowingUpload(staging, start, onMoment, signal);
    this.#buffers = buffers;
    this.#minPartBytes = staging.minPartBytes;
    this.#base = this.#growing.looseBytes;
    this.#at = this.#base;
  }

  /** What may be written to by whoever goes on. */
  get own(): Own | undefined {
    return this.#growing.own;
  }

  /** Takes the next bytes; resolves when there is room for more. */
  async add(piece: Buffer): Promise<void> {
    if (piece.length > 0 && this.#growing.isStored)
      throw fail.malformed('the upload has all bytes of the digest that it was begun with');
    for (let from = 0; from < piece.length; ) {
      this.#buffer ??= this.#buffers.take();
      const copied = piece.copy(this.#buffer, this.#at, from);
      this.#growing.update(piece.subarray(from, from + copied));
      from += copied;
      this.#at += copied;
      if (this.#at === this.#buffer.length) await this.#send(this.#buffer);
    }
  }

  /** Stores what is left in the buffer, in whatever form it takes; resolves to the last moment. */
  async end(): Promise<Moment> {
    const buffer = this.#buffer;
    const isWhole = this.#growing.hasWhole();
    if (isWhole && this.#growing.isEmpty) {
      await this.#growing.storeWhole(buffer?.subarray(0, this.#at) ?? Buffer.alloc(0));
      this.#release();
    } else if (buffer && (this.#at >= this.#minPartBytes || (isWhole && this.#growing.endsDirect()))) {
      await this.#send(buffer);
    } else if (buffer) {
      await this.#growing.settle();
      await this.#growing.storeLoose(this.#filled(buffer));
      this.#release();
    }
    await this.#growing.settle();
    if (!buffer) await this.#growing.assertAlive();
    return this.#growing.moment();
  }

  /** Waits for what is under way: what can be acknowledged of it still is. */
  close(): Promise<void> {
    return this.#growing.close();
  }

  /** The upload was aborted by somebody else: what may have come after that is aborted again. Never throws. */
  giveUp(): Promise<void> {
    return this.#growing.giveUp();
  }

  /** Sends the buffer, preceded by the loose bytes, as the next part. */
  async #send(buffer: Buffer): Promise<void> {
    // Given back only after success: of a request that was given up, bytes may still be on their way out.
    await this.#growing.send(this.#filled(buffer), () => this.#buffers.giveBack(buffer));
    this.#buffer = undefined;
    this.#base = 0;
    this.#at = 0;
  }

  #filled(buffer: Buffer) {
    return { buffer, base: this.#base, end: this.#at };
  }

  #release(): void {
    if (this.#buffer) this.#buffers.giveBack(this.#buffer);
    this.#buffer = undefined;
    this.#at = 0;
    this.#base = 0;
  }
}
