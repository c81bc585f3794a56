/**
 * One append: turns pieces of any size into parts.
 *
 * Memory: one buffer that is being filled, and up to PARTS_IN_FLIGHT that are on their way to the store.
 */
import type { Hash } from 'node:crypto';
import { algorithmOf, type Digest, endHash } from '../../../lib/oci/digest.js';
import { fail, hasReason } from '../../../lib/rpc/errors.js';
import type { Checkpoint } from '../engine.js';
import type { Buffers } from './buffers.js';
import { randomName } from './keys.js';
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

/** The multipart upload that this process, and nobody else, has been writing to. */
export interface Own {
  readonly uploadId: string;
  /** Parts that were sent, acknowledged or not. */
  readonly sent: number;
}

/**
 * Whether a multipart upload may be written to after these parts. If more was sent than the session knows of, it may
 * not: what was given up may still arrive.
 */
export function mayContinue(own: Own | undefined, parts: OpenParts | undefined): boolean {
  return own !== undefined && parts?.uploadId === own.uploadId && parts.parts.length === own.sent;
}

/**
 * What can be written to at the start. Parts that go straight to a blob's key may be sent again: nothing else can take
 * their place, and if one that was given up arrives later, the commit fails, and the caller begins again.
 */
function ownOf({ own, upload: { open, direct } }: Start): Own | undefined {
  if (!open && direct && own?.uploadId === direct.uploadId) return { ...own, sent: direct.parts.length };
  return mayContinue(own, open) ? own : undefined;
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

export class Writer {
  readonly #staging: Staging;
  readonly #buffers: Buffers;
  readonly #onMoment: (moment: Moment) => void;
  readonly #signal: AbortSignal | undefined;
  #upload: Upload;
  #hash: Hash | undefined;
  #own: Own | undefined;
  readonly #sending: Sending[] = [];
  #buffer: Buffer | undefined;
  /** Where the next byte goes in the buffer. Its beginning is kept free for the upload's loose bytes. */
  #at: number;
  /** How many bytes of the loose ones belong before those in the buffer. */
  #base: number;

  constructor(
    staging: Staging,
    buffers: Buffers,
    start: Start,
    onMoment: (moment: Moment) => void,
    signal: AbortSignal | undefined,
  ) {
    this.#staging = staging;
    this.#buffers = buffers;
    this.#upload = start.upload;
    this.#hash = start.hash;
    this.#own = ownOf(start);
    this.#onMoment = onMoment;
    this.#signal = signal;
    this.#base = sizeOfLoose(start.upload);
    this.#at = this.#base;
  }

  get own(): Own | undefined {
    return this.#own;
  }

  async add(piece: Buffer): Promise<void> {
    if (piece.length > 0 && this.#upload.stored !== undefined)
      throw fail.malformed('the upload has all bytes of the digest that it was begun with');
    for (let from = 0; from < piece.length; ) {
      this.#buffer ??= this.#buffers.take();
      const copied = piece.copy(this.#buffer, this.#at, from);
      this.#hash?.update(piece.subarray(from, from + copied));
      from += copied;
      this.#at += copied;
      if (this.#at === this.#buffer.length) await this.#send();
    }
  }

  /** Stores what is left in the buffer, in whatever form it takes; resolves to the last moment. */
  async end(): Promise<Moment> {
    const received = this.#at - this.#base;
    const isWhole = this.#hasWhole();
    if (isWhole && this.#upload.stored === undefined && !this.#hasParts() && sizeOf(this.#upload) === 0) {
      await this.#storeWhole();
    } else if (received > 0 && (this.#at >= this.#staging.minPartBytes || (isWhole && this.#endsDirect()))) {
      await this.#send();
    } else if (received > 0) {
      await this.#settleAll();
      await this.#storeLoose(received);
    }
    await this.#settleAll();
    if (received === 0 && this.#upload.marked) await this.#staging.assertAlive(this.#upload, this.#signal);
    return this.#moment();
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

  /** Sends the buffer, preceded by the loose bytes, as the next part. */
  async #send(): Promise<void> {
    const buffer = this.#buffer;
    if (!buffer) return;
    if (this.#sending.length >= PARTS_IN_FLIGHT) await this.#settleOldest();
    const target = await this.#target();
    const folds = this.#base > 0;
    if (folds) await this.#staging.load(this.#upload, buffer, this.#signal);
    const body = buffer.subarray(0, this.#at);
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
        // Only after success: of a request that was given up, bytes may still be on their way out.
        this.#buffers.giveBack(buffer);
        sending.part = part;
        this.#acknowledge();
      });
    // Whoever waits for it hears of a failure.
    sending.stored.catch(() => {});
    this.#sending.push(sending);
    this.#buffer = undefined;
    this.#base = 0;
    this.#at = 0;
  }

  async #settleAll(): Promise<void> {
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
      this.#onMoment(this.#moment(oldest.hash));
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
      await this.#settleAll();
      await this.#seal();
    } else if (!open) await this.#settleAll();
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

  #hasParts(): boolean {
    return this.#sending.length > 0;
  }

  /** Whether the bytes so far are all those of the digest that was known from the start. */
  #hasWhole(): boolean {
    const { digest, algorithm } = this.#upload;
    if (!digest || !this.#hash || algorithmOf(digest) !== algorithm) return false;
    return endHash(algorithm, this.#hash.copy()) === digest;
  }

  /** Whether the next part would go straight to the blob's key, where the last part may have any size. */
  #endsDirect(): boolean {
    const { direct } = this.#upload;
    return direct !== undefined && this.#goesDirect() && !this.#isFull(direct.parts);
  }

  /** A small blob in one request: its bytes hash to its digest, so it may be seen at once. */
  async #storeWhole(): Promise<void> {
    const { digest } = this.#upload;
    const body = this.#buffer?.subarray(0, this.#at) ?? Buffer.alloc(0);
    await this.#staging.bucket.put(this.#staging.keys.blob(digest as Digest), body, this.#signal);
    this.#release();
    this.#upload = { ...this.#upload, stored: body.length };
  }

  /** Stores bytes that are too few for a part in an object of their own. */
  async #storeLoose(received: number): Promise<void> {
    const buffer = this.#buffer;
    if (!buffer) return;
    await this.#mark();
    const { bucket, keys } = this.#staging;
    const { id, loose } = this.#upload;
    const name = randomName();
    const folds = loose.length >= MAX_LOOSE;
    if (folds) await this.#staging.load(this.#upload, buffer, this.#signal);
    const body = buffer.subarray(folds ? 0 : this.#base, this.#at);
    await bucket.put(keys.piece(id, name), body, this.#signal);
    this.#release();
    try {
      await this.#staging.assertAlive(this.#upload, this.#signal);
    } catch (error) {
      if (hasReason(error, 'UPLOAD_UNKNOWN')) await bucket.delete(keys.piece(id, name)).catch(() => {});
      throw error;
    }
    const piece = { name, length: folds ? body.length : received, whole: true };
    this.#upload = { ...this.#upload, loose: folds ? [piece] : [...loose, piece] };
  }

  async #mark(): Promise<void> {
    if (this.#upload.marked) return;
    await this.#staging.writeMarker(this.#upload.id, undefined, this.#signal);
    this.#upload = { ...this.#upload, marked: true };
  }

  #release(): void {
    if (this.#buffer) this.#buffers.giveBack(this.#buffer);
    this.#buffer = undefined;
    this.#at = 0;
    this.#base = 0;
  }

  #moment(hash = this.#hash?.copy()): Moment {
    const upload = this.#upload;
    return { upload, hash, offset: sizeOf(upload), session: writeSession(upload) };
  }
}

function sizeOfLoose({ loose }: Upload): number {
  return loose.reduce((sum, { length }) => sum + length, 0);
}
