/**
 * The upload that an append makes grow: what it is at each moment, what of it is on its way, and where its next part goes.
 *
 * Parts go to the store PARTS_IN_FLIGHT at a time, and are acknowledged in their order.
 */
import type { Hash } from 'node:crypto';
import { algorithmOf, type Digest, endHash } from '../../../lib/oci/digest.js';
import { hasReason } from '../../../lib/rpc/errors.js';
import type { Checkpoint } from '../engine.js';
import { randomName } from './keys.js';
import { mayContinue, type Own, ownAtStart } from './own.js';
import { MAX_LOOSE, MAX_PARTS, type OpenParts, type Part, sizeOf, type Upload, writeSession } from './session.js';
import type { Staging } from './staging.js';

/** While one part is on its way another is, too: a connection alone does not fill the line to most stores. */
const PARTS_IN_FLIGHT = 2;

/** A moment of an upload, and the hash of all bytes up to it; undefined if it was lost. */
export interface Moment extends Checkpoint {
  readonly upload: Upload;
  readonly hash: Hash | undefined;
}

/** What an append goes on with. */
export interface Start {
  readonly upload: Upload;
  readonly hash: Hash | undefined;
  readonly own: Own | undefined;
}

/** Bytes that are to be stored, in a buffer. */
export interface Filled {
  readonly buffer: Buffer;
  /** Where its first new byte is: what comes before is kept free for the upload's loose bytes. */
  readonly base: number;
  readonly end: number;
}

interface Sending {
  /** Settles once the part is stored, and acknowledged if all before it are. */
  stored: Promise<void>;
  part: Part | undefined;
  /** Where it belongs. */
  readonly direct: boolean;
  /** Whether it begins with the upload's loose bytes. */
  readonly folds: boolean;
  readonly hash: Hash | undefined;
}

export class GrowingUpload {
  readonly #staging: Staging;
  readonly #onMoment: (moment: Moment) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #sending: Sending[] = [];
  #upload: Upload;
  #hash: Hash | undefined;
  #own: Own | undefined;

  constructor(staging: Staging, start: Start, onMoment: (moment: Moment) => void, signal: AbortSignal | undefined) {
    this.#staging = staging;
    this.#upload = start.upload;
    this.#hash = start.hash;
    this.#own = ownAtStart(start.own, start.upload);
    this.#onMoment = onMoment;
    this.#signal = signal;
  }

  get own(): Own | undefined {
    return this.#own;
  }

  /** Whether it has all bytes of the digest that it was begun with, and takes no more. */
  get isStored(): boolean {
    return this.#upload.stored !== undefined;
  }

  /** Whether nothing of it is stored, or on its way. */
  get isEmpty(): boolean {
    return !this.isStored && this.#sending.length === 0 && sizeOf(this.#upload) === 0;
  }

  /** How many loose bytes it has, which the next part begins with. */
  get looseBytes(): number {
    return this.#upload.loose.reduce((sum, { length }) => sum + length, 0);
  }

  /** The next bytes, in their order, to be hashed. */
  update(bytes: Buffer): void {
    this.#hash?.update(bytes);
  }

  /** Whether the bytes so far are all those of the digest that was known from the start. */
  hasWhole(): boolean {
    const { digest, algorithm } = this.#upload;
    if (!digest || !this.#hash || algorithmOf(digest) !== algorithm) return false;
    return endHash(algorithm, this.#hash.copy()) === digest;
  }

  /** Whether the next part would go straight to the blob's key, where the last part may have any size. */
  endsDirect(): boolean {
    const { direct } = this.#upload;
    return direct !== undefined && this.#goesDirect() && !this.#isFull(direct.parts);
  }

  /** Sends the next part: the loose bytes, and then these. Resolves when it is on its way; `onStored` hears when it is there. */
  async send({ buffer, base, end }: Filled, onStored: () => void): Promise<void> {
    if (this.#sending.length >= PARTS_IN_FLIGHT) await this.#settleOldest();
    const target = await this.#target();
    const folds = base > 0;
    if (folds) await this.#staging.load(this.#upload, buffer, this.#signal);
    const body = buffer.subarray(0, end);
    const number = (this.#own?.sent ?? 0) + 1;
    this.#own = { uploadId: target.uploadId, sent: number };
    const sending: Sending = {
      stored: Promise.resolve(),
      part: undefined,
      direct: target.direct,
      folds,
      hash: this.#hash?.copy(),
    };
    sending.stored = this.#staging.bucket.multipart
      .uploadPart(target.key, target.uploadId, number, body, this.#signal)
      .then(part => {
        onStored();
        sending.part = part;
        this.#acknowledge();
      });
    // Whoever waits for it hears of a failure.
    sending.stored.catch(() => {});
    this.#sending.push(sending);
  }

  /** A small blob in one request: its bytes hash to its digest, so it may be seen at once. */
  async storeWhole(body: Buffer): Promise<void> {
    const { digest } = this.#upload;
    await this.#staging.bucket.put(this.#staging.keys.blob(digest as Digest), body, this.#signal);
    this.#upload = { ...this.#upload, stored: body.length };
  }

  /** Stores bytes that are too few for a part in an object of their own. */
  async storeLoose({ buffer, base, end }: Filled): Promise<void> {
    await this.#mark();
    const { bucket, keys } = this.#staging;
    const { id, loose } = this.#upload;
    const name = randomName();
    const folds = loose.length >= MAX_LOOSE;
    if (folds) await this.#staging.load(this.#upload, buffer, this.#signal);
    const body = buffer.subarray(folds ? 0 : base, end);
    await bucket.put(keys.piece(id, name), body, this.#signal);
    try {
      await this.#staging.assertAlive(this.#upload, this.#signal);
    } catch (error) {
      if (hasReason(error, 'UPLOAD_UNKNOWN')) await bucket.delete(keys.piece(id, name)).catch(() => {});
      throw error;
    }
    const piece = { name, length: body.length, whole: true };
    this.#upload = { ...this.#upload, loose: folds ? [piece] : [...loose, piece] };
  }

  /** Throws `uploadUnknown` if others have ended it, as far as that can be seen. */
  async assertAlive(): Promise<void> {
    if (this.#upload.marked) await this.#staging.assertAlive(this.#upload, this.#signal);
  }

  /** What it is now; while parts are on their way, what it was when the last one was acknowledged. */
  moment(hash = this.#hash?.copy()): Moment {
    const upload = this.#upload;
    return { upload, hash, offset: sizeOf(upload), session: writeSession(upload) };
  }

  /** Waits for what is under way: what can be acknowledged of it still is. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#sending.map(({ stored }) => stored));
  }

  /**
   * The upload was aborted by somebody else. A part that was on its way then may have come after the abort, and some
   * stores take that for a reason to keep the multipart upload: now that no part is on its way, it is aborted again.
   * Never throws: what stays is collected later.
   */
  async giveUp(): Promise<void> {
    const { bucket, keys } = this.#staging;
    const { id, open, digest, direct } = this.#upload;
    if (open) await bucket.multipart.abort(keys.piece(id, open.name), open.uploadId).catch(() => {});
    if (direct && digest) await bucket.multipart.abort(keys.blob(digest), direct.uploadId).catch(() => {});
  }

  /** Waits until no part is on its way. */
  async settle(): Promise<void> {
    while (this.#sending.length > 0) await this.#settleOldest();
  }

  async #settleOldest(): Promise<void> {
    await this.#sending[0]?.stored;
  }

  /** Acknowledges the parts that are stored, as far as all before them are, too. */
  #acknowledge(): void {
    for (let [oldest] = this.#sending; oldest?.part; [oldest] = this.#sending) {
      this.#sending.shift();
      const { direct, open } = this.#upload;
      const loose = oldest.folds ? [] : this.#upload.loose;
      const { part } = oldest;
      if (oldest.direct && direct)
        this.#upload = { ...this.#upload, loose, direct: { ...direct, parts: [...direct.parts, part] } };
      else if (open) this.#upload = { ...this.#upload, loose, open: { ...open, parts: [...open.parts, part] } };
      this.#onMoment(this.moment(oldest.hash));
    }
  }

  /** The multipart upload that the next part belongs to. */
  async #target(): Promise<{ key: string; uploadId: string; direct: boolean }> {
    const { bucket, keys } = this.#staging;
    if (this.#goesDirect()) {
      if (!this.#upload.direct) await this.#beginDirect();
      const { direct, digest } = this.#upload;
      if (direct && digest && !this.#isFull(direct.parts))
        return { key: keys.blob(digest), uploadId: direct.uploadId, direct: true };
    }
    const { open } = this.#upload;
    if (open && (!this.#owns(open) || this.#isFull(open.parts))) {
      await this.settle();
      await this.#seal();
    } else if (!open) await this.settle();
    if (!this.#upload.open) {
      const name = randomName();
      const uploadId = await bucket.multipart.create(keys.piece(this.#upload.id, name), this.#signal);
      this.#own = { uploadId, sent: 0 };
      this.#upload = { ...this.#upload, open: { name, uploadId, parts: [] } };
      // An abort that came before found nothing to abort, but it has removed the marker.
      await this.#mark();
      await this.#staging.assertAlive(this.#upload, this.#signal);
    }
    const { open: target, id } = this.#upload;
    if (!target) throw new Error('there is always an upload to write to here');
    return { key: keys.piece(id, target.name), uploadId: target.uploadId, direct: false };
  }

  /** Parts go straight to the blob's key from the first byte on, as long as the digest is known and the hash unbroken. */
  #goesDirect(): boolean {
    const { digest, direct, sealed, open } = this.#upload;
    if (!digest || !this.#hash || open || sealed.length > 0) return false;
    return direct ? this.#owns(direct) : true;
  }

  #owns({ uploadId }: OpenParts): boolean {
    return this.#own?.uploadId === uploadId;
  }

  async #beginDirect(): Promise<void> {
    const { digest } = this.#upload;
    if (!digest) return;
    const uploadId = await this.#staging.bucket.multipart.create(this.#staging.keys.blob(digest), this.#signal);
    this.#own = { uploadId, sent: 0 };
    await this.#staging.writeMarker(this.#upload.id, { digest, uploadId }, this.#signal);
    this.#upload = { ...this.#upload, marked: true, direct: { uploadId, parts: [] } };
  }

  #isFull(parts: readonly Part[]): boolean {
    const { maxParts = MAX_PARTS } = this.#staging.tuning;
    return parts.length + this.#sending.length >= maxParts;
  }

  async #seal(): Promise<void> {
    const { piece, certain } = await this.#staging.seal(
      this.#upload,
      mayContinue(this.#own, this.#upload.open),
      Buffer.alloc(0),
      this.#signal,
    );
    if (!certain) this.#hash = undefined;
    this.#upload = { ...this.#upload, open: undefined, sealed: [...this.#upload.sealed, piece] };
  }

  async #mark(): Promise<void> {
    if (this.#upload.marked) return;
    await this.#staging.writeMarker(this.#upload.id, undefined, this.#signal);
    this.#upload = { ...this.#upload, marked: true };
  }
}
