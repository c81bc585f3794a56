/** Claiming, for tests that do not care from which queue. */
import type { Job, Replication } from '../../lib/metadata/replication.js';

const SOURCES = ['usstorage', 'eustorage', 'apstorage', undefined];

/** Claims everything that is due for a location, wherever it could come from; at most `rows` from each queue. */
export function claimAll(replication: Replication, target: string, rows = 10_000): Promise<Job[]> {
  const bytes = Number.MAX_SAFE_INTEGER;
  return replication.claim(
    SOURCES.flatMap(source => [false, true].map(large => ({ target, source, large, rows, bytes }))),
  );
}
