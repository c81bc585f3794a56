/** How long a reader bears to get nothing. */
import { fail } from '../rpc/errors.js';

/**
 * The iterator's next message. If there is none for `ms` milliseconds, `giveUp` is called, which must end the iterator,
 * and a DEADLINE_EXCEEDED is thrown. The clock stands while nobody asks.
 */
export async function nextInTime<T>(
  messages: AsyncGenerator<T>,
  ms: number,
  giveUp: () => void,
): Promise<IteratorResult<T>> {
  let silent = false;
  const timer = setTimeout(() => {
    silent = true;
    giveUp();
  }, ms);
  try {
    return await messages.next();
  } catch (error) {
    throw silent ? fail.deadline(`no data for ${ms} ms`) : error;
  } finally {
    clearTimeout(timer);
  }
}
