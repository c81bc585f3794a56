/** Reads a range of an object as it comes, and goes on after a broken connection where it broke. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fail, StatusError } from '../../../lib/rpc/errors.js';
import { throwIfAborted } from '../abortable.js';
import type { BucketClient } from './bucket.js';
import { ObjectMissing } from './errors.js';

/** A store that sends nothing for so long while we wait is stuck. The clock stands while nobody asks for more. */
const STALL_MS = 5_000;

/**
 * Broken connections in a row, without a byte in between, that are made up for. Stores close connections on which a
 * slow client lets them wait; that is no reason to fail the client.
 */
const BROKEN_IN_A_ROW = 2;

export interface ObjectRange {
  readonly key: string;
  readonly from: number;
  readonly length: number;
}

/** The bytes of a range. It is opened at the first pull, and closed at the end, when the consumer stops, and when the signal aborts. */
export async function* readObject(
  bucket: BucketClient,
  range: ObjectRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  let done = 0;
  let broken = 0;
  while (done < range.length) {
    try {
      const rest = { key: range.key, from: range.from + done, length: range.length - done };
      for await (const piece of readOnce(bucket, rest, signal)) {
        done += piece.length;
        broken = 0;
        yield piece;
      }
    } catch (error) {
      throwIfAborted(signal);
      // The store's own answers were retried by the SDK already.
      if (error instanceof StatusError || error instanceof ObjectMissing) throw error;
      if (++broken > BROKEN_IN_A_ROW)
        throw fail.storeUnreachable('the store breaks off in the middle of objects', error);
      await sleep(100 * broken * Math.random());
    }
  }
}

async function* readOnce(
  bucket: BucketClient,
  range: ObjectRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  throwIfAborted(signal);
  const stop = new AbortController();
  const onAbort = () => stop.abort();
  signal?.addEventListener('abort', onAbort);
  let askedMs: number | undefined;
  let stalled = false;
  const watch = setInterval(() => {
    if (askedMs === undefined || Date.now() - askedMs < STALL_MS) return;
    stalled = true;
    stop.abort();
  }, STALL_MS / 5);
  try {
    const body = await bucket.get(range.key, range.from, range.length, stop.signal);
    let left = range.length;
    try {
      askedMs = Date.now();
      for await (const piece of body as AsyncIterable<Buffer>) {
        askedMs = undefined;
        throwIfAborted(signal);
        left -= piece.length;
        yield piece;
        askedMs = Date.now();
      }
    } finally {
      // Nobody reads the rest: the connection goes with it.
      if (left > 0) stop.abort();
    }
    if (left > 0) throw new Error('the object ended early');
  } catch (error) {
    throwIfAborted(signal);
    if (stalled)
      throw fail.storeUnreachable(`the store sent nothing for ${STALL_MS / 1000} s in the middle of an object`);
    throw error;
  } finally {
    clearInterval(watch);
    signal?.removeEventListener('abort', onAbort);
  }
}
