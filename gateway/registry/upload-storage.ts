/** What all ways to upload do at the location that takes the bytes. */
import type { Logger } from 'pino';
import { commitUpload } from '../../lib/locations/commit.js';
import type { Location } from '../../lib/locations/location.js';
import type { Locations } from '../../lib/locations/locations.js';
import type { StoreContext } from '../../lib/locations/store.js';
import type { Digest } from '../../lib/oci/digest.js';
import { hasReason } from '../../lib/rpc/errors.js';
import { oci } from '../http/errors.js';

/** A client that cancels or fails an upload waits so long for its bytes to be freed; what remains is found by the storage. */
const ABORT_MS = 2_000;

/** The location that an upload was begun at. */
export function locationOf(locations: Locations, name: string): Location {
  const location = locations.get(name);
  if (!location) throw oci.unavailable(`the upload is in ${name}, which this gateway's configuration does not know`);
  return location;
}

/** Verifies the bytes and makes the blob of them; resolves to its size. Throws DIGEST_INVALID if they are others. */
export async function commitBlob(
  location: Location,
  session: Buffer,
  digest: Digest,
  context: StoreContext,
): Promise<number> {
  try {
    return await commitUpload(location, session, digest, context);
  } catch (error) {
    if (hasReason(error, 'DIGEST_MISMATCH')) throw oci.digestMismatch(error.message);
    throw error;
  }
}

/** Frees the bytes of an upload that failed. */
export async function abortQuietly(location: Location, session: Buffer, log: Logger): Promise<void> {
  try {
    await location.store.abort(session, AbortSignal.timeout(ABORT_MS));
  } catch (error) {
    log.debug({ err: error, location: location.name }, 'an upload is left to be collected');
  }
}

export function layerTooLarge(limit: number) {
  return oci.tooLarge(`a blob may have ${limit} bytes at most (MAXIMUM_LAYER_SIZE)`);
}
