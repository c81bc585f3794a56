/** What a handler of the Admin service threw, as its caller is told: the one place where the database's errors become statuses. */
import { DatabaseUnavailable, LocationClosed } from '../../lib/metadata/database.js';
import { fail } from '../../lib/rpc/errors.js';

/** Runs the work of a call. Throws what `fail` makes, for all that is not unexpected. */
export async function mapped<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DatabaseUnavailable) throw fail.databaseUnavailable(error);
    if (error instanceof LocationClosed) throw fail.refused(error.message);
    throw error;
  }
}
