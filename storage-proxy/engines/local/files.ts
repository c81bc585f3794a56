/** The blobs of LocalStorage: one file each. */
import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { algorithmOf, type Digest, hexOf, parseDigest } from '../../../lib/oci/digest.js';
import { fail } from '../../../lib/rpc/errors.js';
import { throwIfAborted } from '../abortable.js';
import type { BlobBody, BlobEntry, ByteRange } from '../engine.js';
import { errorCode, guarded, isMissing, storeError } from './errors.js';
import type { Layout } from './layout.js';
import { readRange } from './reading.js';

/** In the order in which they are listed. */
const ALGORITHMS = ['sha256', 'sha512'] as const;

/** How many files are looked at at a time while listing. */
const STAT_BATCH = 64;

export class Files {
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  async stat(digest: Digest): Promise<number | undefined> {
    return guarded(async () => {
      const found = await this.#look(digest);
      if (!found) await this.#layout.assertRoot();
      return found?.size;
    });
  }

  /**
   * Looks now, but opens at the first pull: a body that nobody iterates holds nothing. If the blob is removed in
   * between, the first pull throws `blobUnknown`; once it is open it can be read to its end.
   */
  async read(digest: Digest, { offset, limit }: ByteRange, signal?: AbortSignal): Promise<BlobBody> {
    throwIfAborted(signal);
    const size = await this.stat(digest);
    if (size === undefined) throw fail.blobUnknown(digest);
    if (offset > size) throw fail.offset(`the blob has ${size} bytes, and reading was to begin at ${offset}`);
    const to = limit === undefined ? size : Math.min(size, offset + limit);
    return { size, bytes: this.#bytes(digest, size, offset, to, signal) };
  }

  async remove(digest: Digest): Promise<void> {
    await guarded(async () => {
      try {
        await unlink(this.#layout.blob(digest));
      } catch (error) {
        if (!isMissing(error)) throw error;
        await this.#layout.assertRoot();
      }
    });
  }

  /** Holds the names of one of the 256 folders at a time. */
  async *list(after: Digest | undefined, signal?: AbortSignal): AsyncGenerator<BlobEntry> {
    await guarded(() => this.#layout.assertRoot());
    for (const algorithm of ALGORITHMS) {
      if (after && algorithm < algorithmOf(after)) continue;
      const afterHex = after && algorithm === algorithmOf(after) ? hexOf(after) : '';
      for (const prefix of await this.#names(algorithm)) {
        if (!/^[0-9a-f]{2}$/.test(prefix) || prefix < afterHex.slice(0, 2)) continue;
        throwIfAborted(signal);
        const names = await this.#names(join(algorithm, prefix));
        const digests = names
          .filter(name => name.startsWith(prefix) && name > afterHex)
          .map(name => parseDigest(`${algorithm}:${name}`))
          .filter(digest => digest !== undefined);
        for (let at = 0; at < digests.length; at += STAT_BATCH) {
          throwIfAborted(signal);
          yield* await this.#entries(digests.slice(at, at + STAT_BATCH));
        }
      }
    }
  }

  async *#bytes(
    digest: Digest,
    size: number,
    from: number,
    to: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Buffer> {
    try {
      yield* readRange(
        {
          path: this.#layout.blob(digest),
          from,
          to,
          async check(handle) {
            const now = await handle.stat();
            if (now.size !== size) throw fail.corrupt(digest, `its size changed from ${size} to ${now.size} bytes`);
          },
          tooShort: at => fail.corrupt(digest, `it ends after ${at} of ${size} bytes`),
        },
        signal,
      );
    } catch (error) {
      throw isMissing(error) ? fail.blobUnknown(digest) : storeError(error);
    }
  }

  async #entries(digests: Digest[]): Promise<BlobEntry[]> {
    const entries = await guarded(() =>
      Promise.all(
        digests.map(async digest => {
          const found = await this.#look(digest);
          return found && { digest, size: found.size, modifiedMs: Math.floor(found.mtimeMs) };
        }),
      ),
    );
    return entries.filter(entry => entry !== undefined);
  }

  /** What the file system knows about a blob; undefined if there is none, or something else in its place. */
  async #look(digest: Digest) {
    try {
      const found = await stat(this.#layout.blob(digest));
      return found.isFile() ? found : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** The names in a folder, in order; none if there is no such folder. */
  async #names(folder: string): Promise<string[]> {
    try {
      return (await readdir(join(this.#layout.root, folder))).sort();
    } catch (error) {
      if (isMissing(error) || errorCode(error) === 'ENOTDIR') return [];
      throw storeError(error);
    }
  }
}
