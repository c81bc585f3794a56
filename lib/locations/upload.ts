/** Beginning an upload at whichever location can take it. */
import type { Digest, DigestAlgorithm } from '../oci/digest.js';
import type { CallContext } from '../rpc/call.js';
import { isTransient } from '../rpc/errors.js';
import type { Location } from './location.js';
import type { Locations } from './locations.js';
import type { Checkpoint } from './store.js';

/** No location could take an upload now. */
export class NoLocationWritable extends Error {
  override readonly name = 'NoLocationWritable';

  constructor(attempts: readonly { location: string; error: Error }[]) {
    super(
      `no location can be written to now (${attempts.map(({ location, error }) => `${location}: ${error.message}`).join('; ')})`,
    );
  }
}

/** Begins an upload at the first location, in order of preference, that accepts it. Throws NoLocationWritable. */
export async function beginUpload(
  locations: Locations,
  plan: { digest?: Digest | undefined; algorithm?: DigestAlgorithm | undefined },
  context: CallContext,
): Promise<{ location: Location; checkpoint: Checkpoint }> {
  const attempts: { location: string; error: Error }[] = [];
  for (const location of locations.forWriting()) {
    try {
      return { location, checkpoint: await location.store.begin(plan, context) };
    } catch (error) {
      if (!isTransient(error) || context.signal?.aborted) throw error;
      attempts.push({ location: location.name, error });
    }
  }
  throw new NoLocationWritable(attempts);
}
