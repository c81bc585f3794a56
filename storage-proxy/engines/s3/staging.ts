/** The objects and multipart uploads of an upload in the bucket, before it is a blob. */

import { type Digest, parseDigest } from '../../../lib/oci/digest.js';
import { fail } from '../../../lib/rpc/errors.js';
import { each } from '../each.js';
import type { BucketClient } from './bucket.js';
import { isGone } from './errors.js';
import type { Keys } from './keys.js';
import { type OpenParts, type Piece, sizeOfParts, type Upload } from './session.js';

/** Limits that tests make small, so that what happens to large uploads can be seen with small ones. */
export interface Tuning {
  /** Parts of one multipart upload. */
  readonly maxParts?: number | undefined;
  /** Blobs above this size are copied in parts. */
  readonly copyWholeBytes?: number | undefined;
  /** How large those parts are, at least. */
  readonly copyPartBytes?: number | undefined;
}

/** What came of sealing. */
export interface Sealed {
  readonly piece: Piece;
  /** Whether the tail is in it. */
  readonly tailIncluded: boolean;
  /** Whether its bytes are known to be those that the session stands for. */
  readonly certain: boolean;
}

/** Parts that go straight to a blob's key. */
export interface DirectParts {
  readonly digest: Digest;
  readonly uploadId: string;
}

export class Staging {
  readonly bucket: BucketClient;
  readonly keys: Keys;
  readonly minPartBytes: number;
  readonly tuning: Tuning;

  constructor(bucket: BucketClient, keys: Keys, minPartBytes: number, tuning: Tuning) {
    this.bucket = bucket;
    this.keys = keys;
    this.minPartBytes = minPartBytes;
    this.tuning = tuning;
  }

  /** Says that the upload exists, and where its parts go, if that is not below its own prefix. */
  async writeMarker(id: string, direct: DirectParts | undefined, signal: AbortSignal | undefined): Promise<void> {
    await this.bucket.put(this.keys.marker(id), Buffer.from(direct ? JSON.stringify(direct) : ''), signal);
  }

  /** What the upload's marker says of parts that go elsewhere. */
  async readMarker(id: string, signal: AbortSignal | undefined): Promise<DirectParts | undefined> {
    const text = (await this.bucket.getSmall(this.keys.marker(id), signal))?.toString() ?? '';
    if (text === '') return undefined;
    const { digest, uploadId } = JSON.parse(text) as { digest?: unknown; uploadId?: unknown };
    const known = parseDigest(String(digest));
    return known && typeof uploadId === 'string' ? { digest: known, uploadId } : undefined;
  }

  /** Throws `uploadUnknown` if the upload was given up, or has ended. */
  async assertAlive(upload: Upload, signal: AbortSignal | undefined): Promise<void> {
    if ((await this.bucket.head(this.keys.marker(upload.id), signal)) === undefined) throw fail.uploadUnknown();
  }

  /** Reads the upload's loose bytes into the beginning of `target`. */
  async load(upload: Upload, target: Buffer, signal: AbortSignal | undefined): Promise<void> {
    let at = 0;
    const places = upload.loose.map(piece => {
      const place = { piece, at };
      at += piece.length;
      return place;
    });
    await each(places, 8, async ({ piece, at }) => {
      const bytes = await this.bucket.getSmall(this.keys.piece(upload.id, piece.name), signal);
      if (bytes?.length !== piece.length) throw fail.uploadUnknown();
      bytes.copy(target, at);
    });
  }

  /**
   * Completes the multipart upload that the session has open. What comes of it is an object of the upload, and no blob
   * yet. If `own`, we are its sole writer, and have sent nothing that the session does not know of: then `tail`, if it
   * has bytes, becomes the last part.
   *
   * Otherwise a killed writer may have sent parts that the session does not know of. AWS drops what a completion does
   * not list; Ceph refuses to complete, and Swift keeps the part for ever where nobody sees it. So such parts are listed,
   * too, and become the end of the object, and the piece is its beginning.
   *
   * If it is complete already, others did it: another node that goes on, or ourselves, with an answer that was lost.
   * Its beginning is what the session stands for, if it is long enough; but that must be read to be `certain`.
   */
  async seal(upload: Upload, own: boolean, tail: Buffer, signal: AbortSignal | undefined): Promise<Sealed> {
    const { open } = upload;
    if (!open) throw new Error('there is nothing to seal');
    const key = this.keys.piece(upload.id, open.name);
    const { name, uploadId, parts } = open;
    const length = sizeOfParts(open);
    const hasTail = own && tail.length > 0;
    const all = hasTail ? length + tail.length : length;
    if (own) {
      try {
        const last = hasTail
          ? [await this.bucket.multipart.uploadPart(key, uploadId, parts.length + 1, tail, signal)]
          : [];
        await this.bucket.multipart.complete(key, uploadId, [...parts, ...last], signal);
        return { piece: { name, length: all, whole: true }, tailIncluded: hasTail, certain: true };
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    }
    if (await this.#completeAll(key, open, signal))
      return { piece: { name, length, whole: false }, tailIncluded: false, certain: true };
    const found = (await this.bucket.head(key, signal)) ?? 0;
    const tailIncluded = hasTail && found >= all;
    if (found < length) throw fail.uploadUnknown();
    return { piece: { name, length: tailIncluded ? all : length, whole: false }, tailIncluded, certain: false };
  }

  /** Completes a multipart upload with all of its parts, if the first of them are those of the session; false if they are not. */
  async #completeAll(key: string, { uploadId, parts }: OpenParts, signal: AbortSignal | undefined): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        const all = await this.bucket.multipart.listParts(key, uploadId, signal);
        if (parts.some(({ etag }, i) => all[i]?.etag !== etag)) return false;
        await this.bucket.multipart.complete(key, uploadId, all, signal);
        return true;
      } catch (error) {
        if (!isGone(error)) throw error;
        // Its writer lives, and was quicker.
        if (attempt === 3) return false;
      }
    }
  }

  /** Removes everything of an upload. Its marker goes first: who writes to it meanwhile looks for that. */
  async remove(id: string, signal?: AbortSignal, mayBeDirect = true): Promise<void> {
    const direct = mayBeDirect ? await this.readMarker(id, signal) : undefined;
    await this.bucket.delete(this.keys.marker(id), signal);
    if (direct) await this.bucket.multipart.abort(this.keys.blob(direct.digest), direct.uploadId, signal);
    const prefix = this.keys.upload(id);
    for await (const { key, uploadId } of this.bucket.multipart.list(prefix, signal)) {
      await this.bucket.multipart.abort(key, uploadId, signal);
    }
    const keys: string[] = [];
    for await (const { key } of this.bucket.list(prefix, undefined, signal)) keys.push(key);
    await this.bucket.deleteAll(keys, signal);
  }
}
