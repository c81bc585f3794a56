/** How long a reader bears to get nothing. */
import { fail } from '../rpc/errors.js';

/**
 * The time is taken in so many steps. One that comes late, since this process itself was held up, counts as one all the
 * same: what came meanwhile is read before it is called silence.
 */
const STEPS = 4;

/** So many times is waited on, at the most, where others are heard meanwhile. */
const MOST_TIMES = 12;

/**
 * The iterator's next message. If there is none for `ms` milliseconds, `giveUp` is called, which must end the iterator,
 * and a DEADLINE_EXCEEDED is thrown. The clock stands while nobody asks. While `isHeard`, what is wanted may only wait
 * behind other bytes on the same way: then it is waited for some times as long.
 */
export async function nextInTime<T>(
  messages: AsyncGenerator<T>,
  ms: number,
  giveUp: () => void,
  isHeard: () => boolean = () => false,
): Promise<IteratorResult<T>> {
  let left = STEPS;
  let times = 1;
  const timer = setInterval(() => {
    if (--left !== 0) return;
    if (times++ < MOST_TIMES && isHeard()) left = STEPS;
    else giveUp();
  }, ms / STEPS);
  try {
    return await messages.next();
  } catch (error) {
    throw left <= 0 ? fail.deadline(`no data for ${ms} ms`) : error;
  } finally {
    clearInterval(timer);
  }
}
