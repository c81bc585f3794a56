/** Reading that begins before anybody asks. */

/**
 * The same pieces, of which the first is on its way at once: a file is opened, or a store asked, while its reader waits for
 * something else. `end` frees what that holds if nobody iterates; after an iteration it does nothing.
 */
export function begun<T>(source: AsyncIterable<T>): AsyncIterable<T> & { end(): void } {
  const iterator = source[Symbol.asyncIterator]();
  let first: Promise<IteratorResult<T>> | undefined = iterator.next();
  // Who iterates hears of its failure.
  first.catch(() => {});
  const next = () => {
    const result = first ?? iterator.next();
    first = undefined;
    return result;
  };
  const end = async (): Promise<IteratorResult<T>> => (await iterator.return?.()) ?? { done: true, value: undefined };
  return {
    [Symbol.asyncIterator]: () => ({ next, return: end }),
    end: () => void end().catch(() => {}),
  };
}
