import { fail } from '../../lib/rpc/errors.js';

/** Throws if the signal has aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw fail.cancelled();
}

/**
 * Iterates `source` until `signal` aborts, also when the source is silent at that time.
 * (Not a Promise.race with one promise for the signal: that promise would keep every piece alive until the end.)
 */
export async function* abortable<T>(source: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  let stopWaiting: (error: Error) => void = () => {};
  const onAbort = () => stopWaiting(fail.cancelled());
  signal?.addEventListener('abort', onAbort);
  let ended = false;
  try {
    while (true) {
      throwIfAborted(signal);
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        stopWaiting = reject;
        iterator.next().then(resolve, reject);
      });
      if (next.done) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    // Not awaited: a generator that is stuck in `next` would never answer.
    if (!ended) void iterator.return?.().then(undefined, () => {});
  }
}
