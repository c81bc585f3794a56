/**
 * Digests, as the OCI image specification writes them: `algorithm:hex`.
 * Only the two registered algorithms are known; a digest in this code base is always one that `parseDigest` accepted.
 */
import { createHash, type Hash } from 'node:crypto';

/** The registered algorithms, and how many hex digits each has. */
const HEX_LENGTH = { sha256: 64, sha512: 128 } as const;

export type DigestAlgorithm = keyof typeof HEX_LENGTH;

/** A well-formed digest. The brand says that it came through `parseDigest`: it is safe as a part of a path or key. */
export type Digest = string & { readonly __digest: unique symbol };

const DIGEST = new RegExp(
  Object.entries(HEX_LENGTH)
    .map(([algorithm, length]) => `^${algorithm}:[0-9a-f]{${length}}$`)
    .join('|'),
);

/** The digest that `text` is, or undefined if it is not one. */
export function parseDigest(text: string): Digest | undefined {
  return DIGEST.test(text) ? (text as Digest) : undefined;
}

/** Whether `name` is an algorithm that we can hash with. */
export function isDigestAlgorithm(name: string): name is DigestAlgorithm {
  return Object.hasOwn(HEX_LENGTH, name);
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

/** The hex digits after the colon. */
export function hexOf(digest: Digest): string {
  return digest.slice(algorithmOf(digest).length + 1);
}

/** A running hash for `algorithm`. */
export function newHash(algorithm: DigestAlgorithm): Hash {
  return createHash(algorithm);
}

/** Ends a running hash and writes its digest. */
export function endHash(algorithm: DigestAlgorithm, hash: Hash): Digest {
  return `${algorithm}:${hash.digest('hex')}` as Digest;
}

/** The digest of bytes in memory. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return endHash(algorithm, newHash(algorithm).update(bytes));
}
