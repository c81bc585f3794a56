/** Beginning an upload at whichever location can take it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest, DigestAlgorithm } from '../oci/digest.js';
import type { CallContext } from '../rpc/call.js';
import { isTransient } from '../rpc/errors.js';
import type { Location } from './location.js';
import type { Locations } from './locations.js';
import type { Checkpoint } from './store.js';

/** No location could take an upload now. */
export class NoLocationWritable extends Error {
  override readonly name = 'NoLocationWritable';
  /** For clients: without the nodes' own words, which tell addresses that are nobody's business. */
  readonly summary: string;

  constructor(attempts: readonly { location: string; error: Error }[], allowed?: readonly string[]) {
    const reasons = attempts.map(({ location, error }) => `${location}: ${error.message}`).join('; ');
    const what = allowed
      ? `none of the locations that this namespace is kept in (${allowed.join(', ')}) can be written to now`
      : 'no location can be written to now';
    super(`${what} (${reasons || 'this gateway knows none of them'})`);
    this.summary = allowed ? what : `${what} (tried: ${attempts.map(({ location }) => location).join(', ')})`;
  }
}

/** An upload that has begun, and where. */
export interface BegunUpload {
  readonly location: Location;
  readonly checkpoint: Checkpoint;
}

interface Plan {
  readonly digest?: Digest | undefined;
  readonly algorithm?: DigestAlgorithm | undefined;
  /** The only locations that may take it; undefined: any. */
  readonly allowed?: readonly string[] | undefined;
}

/** While no location takes it, a client waits so long: a node that restarts is back by then. */
const PATIENCE_MS = 3_000;
const LOOK_AGAIN_MS = 250;

/** Begins an upload at the first location, in order of preference, that accepts it. Throws NoLocationWritable. */
export async function beginUpload(locations: Locations, plan: Plan, context: CallContext): Promise<BegunUpload> {
  const deadline = Date.now() + PATIENCE_MS;
  while (true) {
    const begun = await beginAnywhere(locations, plan, context);
    if (!(begun instanceof NoLocationWritable)) return begun;
    if (Date.now() + LOOK_AGAIN_MS > deadline) throw begun;
    await sleep(LOOK_AGAIN_MS, undefined, { signal: context.signal });
  }
}

async function beginAnywhere(
  locations: Locations,
  plan: Plan,
  context: CallContext,
): Promise<BegunUpload | NoLocationWritable> {
  const attempts: { location: string; error: Error }[] = [];
  for (const location of locations.forWriting(plan.allowed)) {
    try {
      return { location, checkpoint: await location.store.begin(plan, context) };
    } catch (error) {
      if (!isTransient(error) || context.signal?.aborted) throw error;
      attempts.push({ location: location.name, error });
    }
  }
  return new NoLocationWritable(attempts, plan.allowed);
}
