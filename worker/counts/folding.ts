/**
 * Folds the rows in which the copies of each location are counted. Every statement that changes something adds some; their
 * sum is right whether they are folded or not, but takes longer the more there are.
 */
import { Counts } from '../../lib/metadata/counts.js';
import type { Database } from '../../lib/metadata/database.js';
import type { Logger } from '../../lib/telemetry/log.js';
import { Tidying } from '../tidying.js';

const EVERY_MS = 5_000;

export function foldCounts(db: Database, log: Logger): Tidying {
  const counts = new Counts(db);
  const work = async (signal: AbortSignal) => {
    while (!signal.aborted && (await counts.fold())) {}
  };
  return new Tidying({ everyMs: EVERY_MS, work, failure: 'cannot fold the counts of the locations', log });
}
