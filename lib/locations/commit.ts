/** Ending an upload, so that the death of a node on the way stays unseen. */
import type { Digest } from '../oci/digest.js';
import type { Location } from './location.js';
import { Patience } from './patience.js';
import type { StoreContext } from './store.js';

/**
 * Commits an upload; resolves to the blob's size. While no node answers, it waits for one for a moment: the client has
 * sent all of its bytes by now. It may have been done when an answer was lost: a commit may be repeated.
 */
export async function commitUpload(
  location: Location,
  session: Buffer,
  digest: Digest,
  context: StoreContext,
): Promise<number> {
  const patience = new Patience();
  while (true) {
    try {
      return await location.store.commit(session, digest, context);
    } catch (error) {
      await patience.afterFailure(error, context.signal);
    }
  }
}
