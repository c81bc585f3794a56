/** Uploads to LocalStorage: begin, append, commit, abort, and finding those that nobody went on with. */
import { randomUUID } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { algorithmOf, type Digest, type DigestAlgorithm, endHash, newHash } from '../../../lib/oci/digest.js';
import { fail, hasReason } from '../../../lib/rpc/errors.js';
import { abortable, throwIfAborted } from '../abortable.js';
import type { Checkpoint, Session, StaleUpload, UploadPlan } from '../engine.js';
import { guarded, isMissing, storeError } from './errors.js';
import { type Layout, syncFile } from './layout.js';
import { readRange } from './reading.js';
import { MAX_SEGMENTS, readSession, sameSegments, sizeOf, type Upload, writeSession } from './session.js';
import { Tail, type TailState } from './tail.js';

/**
 * How much of an upload a crash of its writer may cost. Who reads from afar reads less ahead by what it has written and
 * heard of no checkpoint for.
 */
const CHECKPOINT_BYTES = 2 * 1024 * 1024;

/** How many uploads this process remembers the hash of; the others are hashed again when they are committed. */
const REMEMBERED_UPLOADS = 4096;

export class Uploads {
  readonly #layout: Layout;
  /**
   * The tails that this process wrote last, by upload. Whoever goes on with one takes it out first, and puts it back
   * when its file is at rest: so a tail has one writer, and a second one, who finds nothing, begins a segment of its own.
   */
  readonly #tails = new LRUCache<string, TailState>({ max: REMEMBERED_UPLOADS });

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  async begin(plan: UploadPlan): Promise<Checkpoint> {
    const upload: Upload = {
      name: randomUUID(),
      algorithm: plan.digest ? algorithmOf(plan.digest) : (plan.algorithm ?? 'sha256'),
      segments: [],
    };
    await guarded(() => this.#layout.makeUpload(upload.name));
    return checkpointOf(upload);
  }

  async append(
    session: Session,
    source: AsyncIterable<Buffer>,
    onCheckpoint: (checkpoint: Checkpoint) => void,
    signal?: AbortSignal,
  ): Promise<Checkpoint> {
    const upload = readSession(session);
    const tail = await this.#openTail(upload, signal);
    try {
      for await (const piece of abortable(source, signal)) {
        await tail.add(piece);
        if (tail.unkept >= CHECKPOINT_BYTES)
          onCheckpoint(checkpointOf({ ...upload, segments: await tail.checkpoint() }));
      }
      return checkpointOf({ ...upload, segments: await tail.lastCheckpoint() });
    } finally {
      const state = await tail.close();
      if (state) this.#tails.set(upload.name, state);
    }
  }

  async commit(session: Session, digest: Digest, signal?: AbortSignal): Promise<number> {
    const upload = readSession(session);
    try {
      const file = await this.#seal(upload, digest, signal);
      await this.#layout.place(file, digest);
    } catch (error) {
      if (!isMissing(error) && !hasReason(error, 'UPLOAD_UNKNOWN')) throw storeError(error);
      await this.#assertCommitted(upload, digest, signal);
    }
    await this.#discard(upload);
    return sizeOf(upload);
  }

  async abort(session: Session): Promise<void> {
    const upload = readSession(session);
    this.#tails.delete(upload.name);
    await guarded(() => this.#layout.removeUpload(upload.name));
  }

  async *stale(before: number, signal?: AbortSignal): AsyncGenerator<StaleUpload> {
    const names = await guarded(() => this.#layout.listUploads());
    for (const name of names) {
      throwIfAborted(signal);
      const modifiedMs = await guarded(() => lastWritten(this.#layout.upload(name)));
      if (modifiedMs === undefined || modifiedMs >= before) continue;
      yield { session: writeSession({ name, algorithm: 'sha256', segments: [] }), modifiedMs };
    }
  }

  /** The tail to go on with: the upload's last one if this process left it there and nobody uses it, or else a new one. */
  async #openTail(upload: Upload, signal: AbortSignal | undefined): Promise<Tail> {
    const folder = this.#layout.upload(upload.name);
    const state = this.#take(upload);
    const reopened = state && (await Tail.reopen(folder, state));
    if (reopened) return reopened;
    try {
      if (upload.segments.length >= MAX_SEGMENTS) return await gather(folder, upload, upload.algorithm, signal);
      await assertThere(folder, upload);
      const hash = upload.segments.length === 0 ? newHash(upload.algorithm) : undefined;
      return await Tail.create(folder, { segments: upload.segments, hash });
    } catch (error) {
      if (hasReason(error, 'UPLOAD_UNKNOWN')) await guarded(() => this.#layout.assertRoot());
      throw error;
    }
  }

  /** Takes the tail out, if it ends exactly where the upload's session does. */
  #take(upload: Upload): TailState | undefined {
    const state = this.#tails.get(upload.name);
    if (!state || !sameSegments(state.segments, upload.segments)) return undefined;
    this.#tails.delete(upload.name);
    return state;
  }

  /** Has the upload's bytes in one file, verified and on disk; answers its path. */
  async #seal(upload: Upload, digest: Digest, signal: AbortSignal | undefined): Promise<string> {
    const algorithm = algorithmOf(digest);
    const folder = this.#layout.upload(upload.name);
    const whole = await this.#takeWhole(folder, upload, algorithm);
    const tail = whole ?? (await gather(folder, upload, algorithm, signal));
    const found = tail.digest(algorithm);
    if (found === digest) {
      try {
        await tail.seal();
        return tail.path;
      } catch (error) {
        await this.#discard(upload);
        throw error;
      }
    }
    // The upload stays: were it gone, whoever asks again would find the blob of another upload, and take it for this one's.
    const state = whole && (await whole.close());
    if (state) this.#tails.set(upload.name, state);
    if (!whole) await tail.discard();
    throw fail.digestMismatch(digest, found ?? 'something else');
  }

  /** The upload's only segment, if this process wrote and hashed all of it with this algorithm. */
  async #takeWhole(folder: string, upload: Upload, algorithm: DigestAlgorithm): Promise<Tail | undefined> {
    if (upload.algorithm !== algorithm || upload.segments.length !== 1) return undefined;
    const state = this.#take(upload);
    return state?.hash && (await Tail.reopen(folder, state));
  }

  /**
   * For an upload that is gone: fine if that is because it was committed. It may as well have been lost, and the blob that
   * is there may be an old one that is damaged, and was to be replaced: so it is hashed.
   */
  async #assertCommitted(upload: Upload, digest: Digest, signal: AbortSignal | undefined): Promise<void> {
    const path = this.#layout.blob(digest);
    await guarded(async () => {
      try {
        const { size } = await stat(path);
        if (size !== sizeOf(upload) || (await hashFile(path, size, digest, signal)) !== digest)
          throw fail.uploadUnknown();
        // Whoever moved it there may have died before it was on disk.
        await syncFile(path);
        await syncFile(dirname(path));
      } catch (error) {
        if (!isMissing(error)) throw error;
        await this.#layout.assertRoot();
        throw fail.uploadUnknown(error);
      }
    });
  }

  /** Removes an upload whose fate is decided. What is left behind if that fails is stale, and swept up some day. */
  async #discard(upload: Upload): Promise<void> {
    await this.abort(writeSession(upload)).catch(() => {});
  }
}

function checkpointOf(upload: Upload): Checkpoint {
  return { offset: sizeOf(upload), session: writeSession(upload) };
}

/** Copies an upload's bytes into one new segment, hashing what it reads. `uploadUnknown` if some are not there. */
async function gather(
  folder: string,
  upload: Upload,
  algorithm: DigestAlgorithm,
  signal: AbortSignal | undefined,
): Promise<Tail> {
  const tail = await Tail.create(folder, { segments: [], hash: newHash(algorithm) });
  try {
    for (const { name, length } of upload.segments) {
      const range = { path: join(folder, name), from: 0, to: length, tooShort: () => fail.uploadUnknown() };
      for await (const piece of readRange(range, signal)) await tail.add(piece);
    }
    throwIfAborted(signal);
    await tail.checkpoint();
    return tail;
  } catch (error) {
    await tail.discard();
    throw isMissing(error) ? fail.uploadUnknown(error) : storeError(error);
  }
}

/** The digest of a file's first `size` bytes. `uploadUnknown` if it has fewer. */
async function hashFile(path: string, size: number, digest: Digest, signal: AbortSignal | undefined): Promise<Digest> {
  const hash = newHash(algorithmOf(digest));
  const range = { path, from: 0, to: size, tooShort: () => fail.uploadUnknown() };
  for await (const piece of readRange(range, signal)) hash.update(piece);
  return endHash(algorithmOf(digest), hash);
}

/** Throws `uploadUnknown` unless all bytes of the upload are there: a loss of power may have taken some. */
async function assertThere(folder: string, upload: Upload): Promise<void> {
  try {
    const files = await Promise.all(upload.segments.map(({ name }) => stat(join(folder, name))));
    if (upload.segments.some(({ length }, i) => (files[i]?.size ?? 0) < length)) throw fail.uploadUnknown();
  } catch (error) {
    throw isMissing(error) ? fail.uploadUnknown(error) : storeError(error);
  }
}

/** When anything in a folder was last written to; undefined if it is gone. */
async function lastWritten(folder: string): Promise<number | undefined> {
  try {
    const names = await readdir(folder);
    let newest = (await stat(folder)).mtimeMs;
    for (const name of names) newest = Math.max(newest, (await stat(join(folder, name))).mtimeMs);
    return Math.floor(newest);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
