/** Whole blobs: looking for them, reading, deleting and listing them. */
import type { Digest } from '../../../lib/oci/digest.js';
import { algorithmOf } from '../../../lib/oci/digest.js';
import { fail } from '../../../lib/rpc/errors.js';
import type { BlobBody, BlobEntry, ByteRange } from '../engine.js';
import type { BucketClient } from './bucket.js';
import { ObjectMissing } from './errors.js';
import type { Keys } from './keys.js';
import { readObject } from './reading.js';

export class Blobs {
  readonly #bucket: BucketClient;
  readonly #keys: Keys;

  constructor(bucket: BucketClient, keys: Keys) {
    this.#bucket = bucket;
    this.#keys = keys;
  }

  stat(digest: Digest, signal?: AbortSignal): Promise<number | undefined> {
    return this.#bucket.head(this.#keys.blob(digest), signal);
  }

  /** Two requests: the size must be known before the first byte is asked for, and a body that nobody reads must hold no connection. */
  async read(digest: Digest, { offset, limit }: ByteRange, signal?: AbortSignal): Promise<BlobBody> {
    const size = await this.stat(digest, signal);
    if (size === undefined) throw fail.blobUnknown(digest);
    if (offset > size) throw fail.offset(`the blob has ${size} bytes, and reading was to begin at ${offset}`);
    const length = Math.min(limit ?? size, size - offset);
    return { size, bytes: this.#bytes(digest, offset, length, signal) };
  }

  async *#bytes(digest: Digest, from: number, length: number, signal?: AbortSignal): AsyncGenerator<Buffer> {
    try {
      yield* readObject(this.#bucket, { key: this.#keys.blob(digest), from, length }, signal);
    } catch (error) {
      throw error instanceof ObjectMissing ? fail.blobUnknown(digest) : error;
    }
  }

  remove(digest: Digest, signal?: AbortSignal): Promise<void> {
    return this.#bucket.delete(this.#keys.blob(digest), signal);
  }

  async *list(after: Digest | undefined, signal?: AbortSignal): AsyncGenerator<BlobEntry> {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const from = after && algorithmOf(after);
      if (from === 'sha512' && algorithm === 'sha256') continue;
      const start = after && from === algorithm ? this.#keys.blob(after) : undefined;
      for await (const { key, size, modifiedMs } of this.#bucket.list(this.#keys.blobs(algorithm), start, signal)) {
        const digest = this.#keys.digestAt(key);
        // Not every store keeps to `StartAfter`.
        if (digest && (start === undefined || key > start)) yield { digest, size, modifiedMs };
      }
    }
  }
}
