/** The outcome of one item of a batch, whose failure is its own. */
import { StatusError } from '../../lib/rpc/errors.js';

export type Outcome<T> =
  | { readonly value: T; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: StatusError };

/** Runs `work`; a StatusError becomes its outcome. A cancellation ends the batch, and anything else is a bug: they are thrown. */
export async function outcome<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof StatusError && error.status !== 'CANCELLED') return { error };
    throw error;
  }
}
