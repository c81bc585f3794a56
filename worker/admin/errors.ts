/** What a handler of the Admin service threw, as its caller is told: the one place where the database's errors become statuses. */
import { DatabaseUnavailable, LocationClosed } from '../../lib/metadata/database.js';
import { fail, StatusError } from '../../lib/rpc/errors.js';

/** Runs the work of a call. Throws what `fail` makes, for all that is not unexpected. `ending`: this worker ends. */
export async function mapped<T>(work: () => Promise<T>, ending: AbortSignal): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DatabaseUnavailable) throw fail.databaseUnavailable(error);
    if (error instanceof LocationClosed) throw fail.refused(error.message);
    if (isCancelled(error)) throw ending.aborted ? fail.draining() : fail.cancelled();
    throw error;
  }
}

/** Whether a call ended because its signal aborted. */
function isCancelled(error: unknown): boolean {
  if (error instanceof StatusError) return error.status === 'CANCELLED';
  return error instanceof Error && error.name === 'AbortError';
}
