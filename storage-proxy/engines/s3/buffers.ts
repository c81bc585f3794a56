/** Part buffers, used again: large ones that are made and dropped all the time would outrun the garbage collector. */

/** So many wait for their next use. */
const KEPT = 8;

export class Buffers {
  readonly #bytes: number;
  readonly #free: Buffer[] = [];

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }

  /** Only for buffers that nobody reads from any more. */
  giveBack(buffer: Buffer): void {
    if (this.#free.length < KEPT) this.#free.push(buffer);
  }
}
