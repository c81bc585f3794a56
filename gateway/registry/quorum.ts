/**
 * The wait of a pushed manifest for its write quorum: it is stored, and its tag is set once enough locations hold every
 * blob. A push that is given up loses nothing: the copies go on, and the same push again finds them where they are then.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Manifests, ShortBlob } from '../../lib/metadata/manifests.js';
import type { Digest } from '../../lib/oci/digest.js';
import type { RepositoryName, Tag } from '../../lib/oci/name.js';
import { oci } from '../http/errors.js';

const LOOK_AGAIN_MS = { first: 100, growth: 1.5, most: 1_000 };

/** Blobs that an error names; there may be thousands. */
const NAMED_BLOBS = 5;

export interface QuorumWait {
  readonly manifests: Manifests;
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly tags: readonly Tag[];
  /** What `Manifests.put` answered. */
  readonly short: readonly ShortBlob[];
  readonly seconds: number;
  /** Aborts when the client is gone: nobody waits any more. */
  readonly signal: AbortSignal;
}

/** Resolves once the manifest is tagged. Throws UNAVAILABLE, with what is missing where, if that takes too long. */
export async function waitForQuorum({ manifests, signal, ...wait }: QuorumWait): Promise<void> {
  const began = performance.now();
  const deadline = began + wait.seconds * 1_000;
  let { short } = wait;
  let pause = LOOK_AGAIN_MS.first;
  while (performance.now() < deadline) {
    await sleep(Math.min(pause, deadline - performance.now()), undefined, { signal });
    pause = Math.min(pause * LOOK_AGAIN_MS.growth, LOOK_AGAIN_MS.most);
    const outcome = await manifests.tag(wait.repository, wait.digest, wait.tags, performance.now() - began);
    if (!outcome) throw oci.manifestUnknown(wait.digest);
    if (outcome.kind === 'stored') return;
    short = outcome.blobs;
  }
  throw oci.shortOfQuorum(describe(short, wait.seconds), short);
}

function describe(short: readonly ShortBlob[], seconds: number): string {
  const named = short.slice(0, NAMED_BLOBS).map(({ digest, lacking }) => `${digest} is not in ${lacking.join(', ')}`);
  const more = short.length > NAMED_BLOBS ? `; and ${short.length - NAMED_BLOBS} blobs more` : '';
  return `after ${seconds} s, too few locations hold the manifest's blobs, and nothing was tagged: ${named.join('; ')}${more}. Push it again to go on waiting`;
}
