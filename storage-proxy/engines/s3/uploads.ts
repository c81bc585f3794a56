/** Uploads to a bucket: begin, append, commit, abort. See the top of s3.ts for how it all fits together. */
import { type Hash, randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { S3Settings } from '../../../lib/config/engines/s3.js';
import { algorithmOf, type Digest, endHash, newHash } from '../../../lib/oci/digest.js';
import { fail, hasReason } from '../../../lib/rpc/errors.js';
import { abortable } from '../abortable.js';
import type { Checkpoint, Session, UploadPlan } from '../engine.js';
import { assemble, completeWith, hashRanges, rangesOf, type Sources } from './assembly.js';
import { Buffers } from './buffers.js';
import { NotImplemented, ObjectMissing } from './errors.js';
import type { Moment } from './growing.js';
import { mayContinue, type Own } from './own.js';
import { readAnySession, readSession, sizeOf, type Upload, writeSession } from './session.js';
import type { Staging } from './staging.js';
import { Writer } from './writer.js';

const MIB = 1024 * 1024;

/** Large enough that the time of a request does not count, small enough to hold three for each append. */
const PART_BYTES = 8 * MIB;

/** How many uploads this process remembers the hash of; the others are read back when they are committed. */
const REMEMBERED_UPLOADS = 4_096;
/** How many of an upload's last moments: a caller may go back to a checkpoint that it has written down. */
const REMEMBERED_MOMENTS = 32;

/** What this process knows of an upload that it wrote to, beyond the session. */
interface Tail {
  readonly moments: readonly Moment[];
  readonly own: Own | undefined;
}

export class Uploads {
  readonly #staging: Staging;
  readonly #settings: S3Settings;
  readonly #buffers: Buffers;
  /**
   * The tails of uploads. Whoever goes on with one takes it out first, and puts it back when nothing is under way any
   * more: so a multipart upload has one writer, and a second one, who finds nothing, begins one of its own.
   */
  readonly #tails = new LRUCache<string, Tail>({ max: REMEMBERED_UPLOADS });

  constructor(staging: Staging, settings: S3Settings) {
    this.#staging = staging;
    this.#settings = settings;
    this.#buffers = new Buffers(Math.max(PART_BYTES, settings.minPartBytes));
  }

  async begin(plan: UploadPlan, signal?: AbortSignal): Promise<Checkpoint> {
    const upload: Upload = {
      id: randomUUID(),
      algorithm: plan.digest ? algorithmOf(plan.digest) : (plan.algorithm ?? 'sha256'),
      digest: plan.digest,
      // With a known digest most uploads are one small object at the blob's key: their marker comes when it is needed.
      marked: plan.digest === undefined,
      stored: undefined,
      direct: undefined,
      sealed: [],
      open: undefined,
      loose: [],
    };
    if (upload.marked) await this.#staging.writeMarker(upload.id, undefined, signal);
    return { offset: 0, session: writeSession(upload) };
  }

  async append(
    session: Session,
    source: AsyncIterable<Buffer>,
    onCheckpoint: (checkpoint: Checkpoint) => void,
    signal?: AbortSignal,
  ): Promise<Checkpoint> {
    const upload = readSession(session);
    const tail = this.#take(upload, session);
    const start = tail ?? { hash: hashOfNothing(upload), moments: [], own: undefined };
    // What went straight to the blob's key can be neither read nor hashed again: without its hash it is lost.
    if (!tail && upload.direct) throw fail.uploadUnknown();
    let moments: readonly Moment[] = start.moments;
    const note = (moment: Moment) => {
      moments = [...moments, moment].slice(-REMEMBERED_MOMENTS);
    };
    const writer = new Writer(
      this.#staging,
      this.#buffers,
      { upload, ...start },
      moment => {
        note(moment);
        onCheckpoint({ offset: moment.offset, session: moment.session });
      },
      signal,
    );
    let gone = false;
    try {
      for await (const piece of abortable(source, signal)) await writer.add(piece);
      const last = await writer.end();
      note(last);
      return { offset: last.offset, session: last.session };
    } catch (error) {
      gone = error instanceof ObjectMissing || hasReason(error, 'UPLOAD_UNKNOWN');
      throw error instanceof ObjectMissing ? fail.uploadUnknown(error) : error;
    } finally {
      await writer.close();
      if (gone) await writer.giveUp();
      if (moments.length > 0) this.#tails.set(upload.id, { moments, own: writer.own });
    }
  }

  async commit(session: Session, digest: Digest, signal?: AbortSignal): Promise<number> {
    const upload = readSession(session);
    const size = sizeOf(upload);
    try {
      await this.#store(upload, session, digest, signal);
    } catch (error) {
      if (hasReason(error, 'DIGEST_MISMATCH')) await this.#discard(upload);
      if (!(error instanceof ObjectMissing) && !hasReason(error, 'UPLOAD_UNKNOWN')) throw error;
      // Gone: fine if that is because it was committed, by us or by another node.
      const found = await this.#staging.bucket.head(this.#staging.keys.blob(digest), signal);
      if (found !== size) throw fail.uploadUnknown(error);
    }
    await this.#discard(upload);
    return size;
  }

  async abort(session: Session, signal?: AbortSignal): Promise<void> {
    const found = readAnySession(session);
    if ('kind' in found && found.kind === 'parts')
      return this.#staging.bucket.multipart.abort(this.#staging.keys.blob(found.digest), found.uploadId, signal);
    this.#tails.delete(found.id);
    await this.#staging.remove(found.id, signal);
  }

  /** Verifies the upload's bytes, and makes them the blob. */
  async #store(upload: Upload, session: Session, digest: Digest, signal: AbortSignal | undefined): Promise<void> {
    const { bucket, keys } = this.#staging;
    const tail = this.#take(upload, session);
    const hash = tail ? tail.hash : hashOfNothing(upload);
    const found = hash && upload.algorithm === algorithmOf(digest) ? endHash(upload.algorithm, hash) : undefined;
    if (found && found !== digest) throw fail.digestMismatch(digest, found);
    if (upload.stored !== undefined) {
      if (digest !== upload.digest) throw fail.digestMismatch(digest, String(upload.digest));
      if ((await bucket.head(keys.blob(digest), signal)) !== upload.stored) throw fail.uploadUnknown();
      return;
    }
    if (upload.direct) {
      if (!found) throw fail.uploadUnknown();
      if (digest !== upload.digest) throw fail.malformed('the upload was begun for another digest');
    }
    const { sources, certain } = await this.#sourcesOf(upload, mayContinue(tail?.own, upload.open), signal);
    if (!found || !certain) {
      if (upload.direct) throw fail.uploadUnknown();
      const stored = await hashRanges(bucket, rangesOf(keys, sources), digest, signal, sources.tail);
      if (stored !== digest) throw fail.digestMismatch(digest, stored);
    }
    if (await this.#isThere(digest, sizeOf(upload), signal)) return;
    const target = upload.direct && { key: keys.blob(digest), open: upload.direct };
    const make = (how: { serverSideCopy: boolean; maxCopyBytes: number }) =>
      target
        ? completeWith(this.#staging, sources, target, how, signal)
        : assemble(this.#staging, sources, digest, how, signal);
    try {
      await make(this.#settings);
    } catch (error) {
      // Some stores can copy, but not what they have encrypted, or what another session has written: then the bytes pass
      // through here.
      if (!(error instanceof NotImplemented) || !this.#settings.serverSideCopy) throw error;
      await make({ ...this.#settings, serverSideCopy: false });
    }
  }

  /**
   * Whether the blob is there already, and intact. Then it is left alone: nothing is gained by writing it again, and
   * where a multipart object is overwritten, Swift keeps the parts of the old one for ever.
   */
  async #isThere(digest: Digest, size: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { bucket, keys } = this.#staging;
    const key = keys.blob(digest);
    if ((await bucket.head(key, signal)) !== size) return false;
    try {
      return (await hashRanges(bucket, [{ key, from: 0, length: size }], digest, signal)) === digest;
    } catch (error) {
      if (error instanceof ObjectMissing) return false;
      throw error;
    }
  }

  /** The objects that the upload consists of, once nothing of it is in an open multipart upload any more. */
  async #sourcesOf(
    upload: Upload,
    isOwn: boolean,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly sources: Sources; readonly certain: boolean }> {
    const { id, sealed, open, loose } = upload;
    const isEmpty = sealed.length === 0 && !open && loose.length === 0;
    if (isEmpty && upload.marked) await this.#staging.assertAlive(upload, signal);
    const [only] = loose;
    // A single small object is copied as it is.
    if (only && loose.length === 1 && sealed.length === 0 && !open)
      return { sources: { id, pieces: [only], tail: Buffer.alloc(0) }, certain: true };
    const tail = Buffer.alloc(loose.reduce((sum, { length }) => sum + length, 0));
    await this.#staging.load(upload, tail, signal);
    if (!open) return { sources: { id, pieces: sealed, tail }, certain: true };
    const { piece, tailIncluded, certain } = await this.#staging.seal(upload, isOwn, tail, signal);
    const pieces = [...sealed, piece];
    return {
      sources: { id, pieces, tail: tailIncluded ? Buffer.alloc(0) : tail },
      certain,
    };
  }

  /** Takes the tail out, if it has come past this session; with the hash of that moment. */
  #take(upload: Upload, session: Session): (Tail & { readonly hash: Hash | undefined }) | undefined {
    const tail = this.#tails.get(upload.id);
    const index = tail?.moments.findIndex(moment => moment.session.equals(session)) ?? -1;
    const moment = tail?.moments[index];
    if (!tail || !moment) return undefined;
    this.#tails.delete(upload.id);
    // The hash of a moment is used once: another who begins there has to copy it before.
    return { ...tail, moments: tail.moments.slice(0, index + 1), hash: moment.hash?.copy() };
  }

  /** Removes an upload whose fate is decided. What is left behind if that fails is stale, and swept up some day. */
  async #discard(upload: Upload): Promise<void> {
    this.#tails.delete(upload.id);
    if (upload.stored !== undefined && !upload.marked) return;
    await this.#staging.remove(upload.id, undefined, upload.digest !== undefined).catch(() => {});
  }
}

function hashOfNothing(upload: Upload): Hash | undefined {
  return sizeOf(upload) === 0 ? newHash(upload.algorithm) : undefined;
}
