/** A bound on how long work may take, on top of a caller's signal. */
import { fail } from '../../../lib/rpc/errors.js';
import { throwIfAborted } from '../abortable.js';

/** Runs `work` with a signal that aborts with the caller's, or after `ms`; then it fails with `storeUnreachable`. */
export async function withDeadline<T>(
  what: string,
  ms: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  throwIfAborted(signal);
  const controller = new AbortController();
  const onAbort = () => controller.abort();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    controller.abort();
  }, ms);
  signal?.addEventListener('abort', onAbort);
  try {
    return await work(controller.signal);
  } catch (error) {
    throwIfAborted(signal);
    if (late) throw fail.storeUnreachable(`the store did not answer within ${ms / 1000} s (${what})`);
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
