/** Rendezvous hashing: every process finds the same order, without a word between them. */
import { createHash } from 'node:crypto';

/** The items in the order in which they are meant for `word`. When one goes, only what was meant for it moves. */
export function rendezvous<T>(word: string, items: readonly T[], nameOf: (item: T) => string): readonly T[] {
  if (items.length < 2) return items;
  const rank = (item: T) =>
    createHash('sha256')
      .update(`${word} ${nameOf(item)}`)
      .digest('hex');
  return items
    .map(item => ({ item, rank: rank(item) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ item }) => item);
}
