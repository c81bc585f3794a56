/**
 * The last bytes of a stream, for readers at their own pace: what does not fit any more is gone, and nobody is waited
 * for.
 */

/** What one ring keeps at the most, in bytes. */
const RING_BYTES = 16 * 1024 * 1024;

/** What all rings of a process keep together; each has its least all the same. */
const ALL_RINGS_BYTES = 128 * 1024 * 1024;
const LEAST_BYTES = 1024 * 1024;

/** What is kept in memory, over all rings of a process. */
export class RingBudget {
  held = 0;
}

export class Ring {
  readonly #budget: RingBudget;
  #pieces: { readonly offset: number; readonly data: Buffer }[] = [];
  #end = 0;

  constructor(budget: RingBudget) {
    this.#budget = budget;
  }

  /** Where the bytes that are kept begin, and where they end. */
  get start(): number {
    return this.#pieces[0]?.offset ?? this.#end;
  }
  get end(): number {
    return this.#end;
  }

  /** Forgets everything; the next bytes are those from `offset` on. */
  restart(offset: number): void {
    this.#budget.held -= this.#end - this.start;
    this.#pieces = [];
    this.#end = offset;
  }

  push(data: Buffer): void {
    if (data.length === 0) return;
    this.#pieces.push({ offset: this.#end, data });
    this.#end += data.length;
    this.#budget.held += data.length;
    while (this.#pieces.length > 1 && this.#isTooLong()) {
      this.#budget.held -= this.#pieces.shift()?.data.length ?? 0;
    }
  }

  /** Some bytes from `offset` on; undefined if they are gone, or have not come yet. */
  from(offset: number): Buffer | undefined {
    const piece = this.#pieces.findLast(each => each.offset <= offset);
    const data = piece?.data.subarray(offset - piece.offset);
    return data && data.length > 0 ? data : undefined;
  }

  #isTooLong(): boolean {
    const bytes = this.#end - this.start;
    return bytes > RING_BYTES || (bytes > LEAST_BYTES && this.#budget.held > ALL_RINGS_BYTES);
  }
}
