/** That something fails, and with what. */
import * as assert from 'uvu/assert';
import { StatusError } from '../../lib/rpc/errors.js';

/** Asserts that `work` fails with one of these reasons (or statuses, or messages). */
export async function rejects(wanted: string | string[], work: () => Promise<unknown>): Promise<void> {
  let error: unknown;
  try {
    await work();
  } catch (thrown) {
    error = thrown;
  }
  if (error === undefined) assert.unreachable(`should have failed with ${wanted}`);
  const found = error instanceof StatusError ? [error.reason, error.status, error.message] : [(error as Error).message];
  const named = [wanted].flat().some(each => found.includes(each));
  if (!named) throw new Error(`failed with ${found.join(' / ')} instead of ${wanted}`, { cause: error });
}
