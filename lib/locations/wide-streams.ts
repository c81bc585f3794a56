/**
 * How much memory reads from other regions may take.
 *
 * Over a long link a stream is as fast as its receive window is wide, and a reader whose client is slow holds all of it
 * in memory. So only some streams of a process get a wide one at a time; the others go through a second channel with
 * the window that is used inside a region: slower, each, but as many as there are they fill the link as well.
 */

/** 8 × 16 MiB (FAR_WINDOW) at the most. */
const WIDE_STREAMS = 8;

export class WideStreams {
  #free = WIDE_STREAMS;

  /** Takes a place, if one is free; call the answer, once, when the stream is over. */
  take(): (() => void) | undefined {
    if (this.#free === 0) return undefined;
    this.#free--;
    let taken = true;
    return () => {
      if (taken) this.#free++;
      taken = false;
    };
  }
}
