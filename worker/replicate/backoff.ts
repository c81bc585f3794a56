/** When a copy that failed is tried again: soon at first, never later than five minutes, never all at once. */

const FIRST_MS = 1_000;
const MOST_MS = 5 * 60_000;

/** The delay before the next try, in milliseconds, after `attempts` tries that failed. */
export function retryDelayMs(attempts: number, random: () => number = Math.random): number {
  const ceiling = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempts - 1, 20));
  return Math.round(ceiling * (0.5 + random() / 2));
}
