/** Reads a range of a file in pieces, with one read ahead of the consumer. */
import { type FileHandle, open } from 'node:fs/promises';
import { FRAME_BYTES } from '../../../lib/rpc/channel.js';
import { throwIfAborted } from '../abortable.js';
import { guarded } from './errors.js';

/**
 * As much as fits into one frame on the wire. With one read ahead, larger reads were no faster (the file is in the page
 * cache or the disk is the limit), and hundreds of paused readers hold two of these each.
 */
const READ_BYTES = FRAME_BYTES;

export interface FileRange {
  readonly path: string;
  /** The first byte, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** Says whether the file that was opened is the one that was meant; throws if not. */
  readonly check?: (handle: FileHandle) => Promise<void>;
  /** What to throw if the file ends before `to`. */
  readonly tooShort: (size: number) => Error;
}

/** Opens the file at the first pull, and closes it at the end, when the consumer stops, and when the signal aborts. */
export async function* readRange(range: FileRange, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  throwIfAborted(signal);
  const handle = await open(range.path, 'r');
  // A consumer that is not pulling must not keep the file open. `close` waits for the read that is under way.
  const onAbort = () => void handle.close().catch(() => {});
  signal?.addEventListener('abort', onAbort);
  try {
    await range.check?.(handle);
    let at = range.from;
    let next = readAt(handle, at, range.to);
    while (at < range.to) {
      const piece = await next;
      throwIfAborted(signal);
      if (piece.length === 0) throw range.tooShort(at);
      at += piece.length;
      next = readAt(handle, at, range.to);
      yield piece;
    }
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await handle.close();
  }
}

/** The next piece of a range; empty at its end, and where the file ends. */
function readAt(handle: FileHandle, at: number, to: number): Promise<Buffer> {
  const length = Math.min(READ_BYTES, to - at);
  if (length === 0) return Promise.resolve(Buffer.alloc(0));
  const reading = guarded(async () => {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafeSlow(length), 0, length, at);
    return buffer.subarray(0, bytesRead);
  });
  // Whoever awaits it hears of a failure; if nobody does any more, nobody needs to.
  reading.catch(() => {});
  return reading;
}
