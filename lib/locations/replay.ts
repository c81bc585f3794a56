/**
 * The bytes of an upload between the client and the storage, kept until a checkpoint covers them.
 *
 * A client sends its bytes once. When the node that takes them dies, another one goes on from the last checkpoint, and
 * what came after that is given to it from here: the client notices nothing. Memory is bounded for a process as a
 * whole; an upload that gets no more of it goes on all the same, only a node's death would then fail it.
 */

/** Bytes that all uploads of a process together may keep. Each needs what its storage takes between two checkpoints. */
const BUDGET_BYTES = 96 * 1024 * 1024;

/** What is kept in memory, over all uploads of a process. */
export class ReplayBudget {
  #free = BUDGET_BYTES;

  take(bytes: number): boolean {
    if (bytes > this.#free) return false;
    this.#free -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#free += bytes;
  }
}

interface Piece {
  readonly offset: number;
  readonly data: Buffer;
}

export class ReplaySource {
  readonly #source: AsyncIterator<Buffer>;
  readonly #budget: ReplayBudget;
  /** Consecutive pieces, the first of which may have been sent already. */
  #pieces: Piece[] = [];
  #heldBytes = 0;
  /** How many of the held bytes the budget was asked for; fewer than are held if it had no more. */
  #budgetedBytes = 0;
  /** Where the source is. */
  #end: number;
  #state: 'open' | 'ended' | { error: unknown } = 'open';
  #pulling: Promise<void> | undefined;

  /** `offset` is where in the upload the source's first byte belongs. */
  constructor(source: AsyncIterable<Buffer>, offset: number, budget: ReplayBudget) {
    this.#source = source[Symbol.asyncIterator]();
    this.#end = offset;
    this.#budget = budget;
  }

  /** Whether the bytes from `offset` on can be had (again). */
  has(offset: number): boolean {
    return offset >= (this.#pieces[0]?.offset ?? this.#end) && offset <= this.#end;
  }

  /** Whether `error` is the source's own. */
  failedWith(error: unknown): boolean {
    return typeof this.#state === 'object' && this.#state.error === error;
  }

  /** The bytes from `offset` on. Only the newest reader counts; an older one may be left where it is. */
  async *from(offset: number): AsyncGenerator<Buffer> {
    let at = offset;
    while (true) {
      const piece = this.#pieces.findLast(each => each.offset <= at && at < each.offset + each.data.length);
      if (piece) {
        const data = piece.data.subarray(at - piece.offset);
        at += data.length;
        yield data;
        this.#forgetIfPoor(at);
      } else if (this.#state === 'open') {
        this.#pulling ??= this.#pull();
        await this.#pulling;
      } else if (this.#state === 'ended') {
        return;
      } else {
        throw this.#state.error;
      }
    }
  }

  /** A checkpoint covers everything before `offset`. */
  release(offset: number): void {
    this.#forget(offset);
  }

  /** Frees everything, and ends the source. */
  async close(): Promise<void> {
    this.#forget(Number.POSITIVE_INFINITY);
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    // Not awaited: a source that is silent would never answer; its owner ends it.
    void this.#source.return?.().catch(() => {});
  }

  async #pull(): Promise<void> {
    try {
      const next = await this.#source.next();
      if (this.#state !== 'open') return;
      if (next.done) this.#state = 'ended';
      else this.#keep(next.value);
    } catch (error) {
      this.#state = { error };
    } finally {
      this.#pulling = undefined;
    }
  }

  #keep(data: Buffer): void {
    if (data.length === 0) return;
    this.#pieces.push({ offset: this.#end, data });
    this.#end += data.length;
    this.#heldBytes += data.length;
    if (this.#budget.take(data.length)) this.#budgetedBytes += data.length;
  }

  /** Without memory for it, what has been sent is not kept. */
  #forgetIfPoor(sent: number): void {
    if (this.#heldBytes > this.#budgetedBytes) this.#forget(sent);
  }

  /** Lets go of the pieces that end before `offset`. */
  #forget(offset: number): void {
    let count = 0;
    for (const piece of this.#pieces) {
      if (piece.offset + piece.data.length > offset) break;
      this.#heldBytes -= piece.data.length;
      count++;
    }
    if (count > 0) this.#pieces = this.#pieces.slice(count);
    const surplus = Math.max(0, this.#budgetedBytes - this.#heldBytes);
    this.#budgetedBytes -= surplus;
    this.#budget.give(surplus);
  }
}
