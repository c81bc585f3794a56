/** The gate for what callers send: every handler reads its request through these. They throw `fail.malformed`. */
import { type Digest, parseDigest } from '../../lib/oci/digest.js';
import { asSize } from '../../lib/oci/size.js';
import { fail } from '../../lib/rpc/errors.js';

/** Digests or blobs in one call. */
export const MAX_ITEMS = 1_000;

export function asDigest(text: string): Digest {
  const digest = parseDigest(text);
  if (!digest) throw fail.malformed(`not a digest (sha256:<64 hex> or sha512:<128 hex>): ${quoted(text)}`);
  return digest;
}

/** A digest, or undefined for the empty text. */
export function asOptionalDigest(text: string): Digest | undefined {
  return text === '' ? undefined : asDigest(text);
}

export function asDigests(texts: readonly string[]): Digest[] {
  assertItems(texts.length);
  return texts.map(asDigest);
}

export function assertItems(count: number): void {
  if (count > MAX_ITEMS) throw fail.malformed(`${count} items in one call; at most ${MAX_ITEMS} are taken`);
}

/** An offset or a limit in bytes. */
export function asBytes(name: string, value: unknown): number {
  try {
    return asSize(value);
  } catch {
    throw fail.malformed(`${name} is not a size in bytes: ${quoted(String(value))}`);
  }
}

/** What a caller sent, short enough for an error message, and without control characters. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}…` : text);
}
