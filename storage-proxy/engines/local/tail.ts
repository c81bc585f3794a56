/**
 * The segment at the end of an upload, while it is being written: its file, the bytes on their way there, and the hash
 * over all bytes of the upload.
 *
 * A file is created by one writer with O_EXCL, and only that writer ever extends it. Bytes behind the last checkpoint
 * belong to nobody: `close` cuts them off.
 */
import type { Hash } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, type DigestAlgorithm, endHash } from '../../../lib/oci/digest.js';
import { fail } from '../../../lib/rpc/errors.js';
import { guarded, isMissing, storeError } from './errors.js';
import { randomName } from './layout.js';
import type { Segment } from './session.js';

/** Pieces are gathered until there are so many bytes, or so many pieces: each may keep a larger buffer alive. */
const WRITE_BYTES = 512 * 1024;
const WRITE_PIECES = 64;

/**
 * Bytes that are not on disk yet are sent there once there are so many, while others come in: a kernel keeps gigabytes
 * back, and whoever commits a large blob would wait for all of them at its end.
 */
const SYNC_BYTES = 32 * 1024 * 1024;

/** What is needed to go on after a tail was closed: the upload's segments, and the hash over exactly their bytes. */
export interface TailState {
  readonly segments: readonly Segment[];
  /** Undefined if bytes were written that this process did not see. */
  readonly hash: Hash | undefined;
}

export class Tail {
  readonly path: string;
  readonly #name: string;
  readonly #handle: FileHandle;
  readonly #before: readonly Segment[];
  #hash: Hash | undefined;
  /** Bytes given to the file so far. */
  #length: number;
  /** The same at the last checkpoint. */
  #kept: number;
  #keptHash: Hash | undefined;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  /** The file's length when the disk was last told to take it, or when it was opened. */
  #synced: number;
  #syncing: Promise<void> | undefined;
  #failure: unknown;
  /** Whether bytes that were in the file may never get to the disk. */
  #isLost = false;

  private constructor(folder: string, name: string, handle: FileHandle, length: number, state: TailState) {
    this.path = join(folder, name);
    this.#name = name;
    this.#handle = handle;
    this.#before = state.segments;
    this.#hash = state.hash;
    this.#length = length;
    this.#kept = length;
    this.#synced = length;
    this.#keptHash = state.hash?.copy();
  }

  /** Begins a new segment after `before`. `uploadUnknown` if the folder is gone. */
  static async create(folder: string, before: TailState): Promise<Tail> {
    const name = randomName();
    try {
      return new Tail(folder, name, await open(join(folder, name), 'wx'), 0, before);
    } catch (error) {
      throw isMissing(error) ? fail.uploadUnknown(error) : storeError(error);
    }
  }

  /** Goes on in the last segment; undefined if the file is not as this process left it. */
  static async reopen(folder: string, { segments, hash }: TailState): Promise<Tail | undefined> {
    const last = segments.at(-1);
    if (!last) return undefined;
    let handle: FileHandle;
    try {
      handle = await open(join(folder, last.name), 'r+');
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw storeError(error);
    }
    const size = await handle.stat().then(
      found => found.size,
      () => undefined,
    );
    if (size === last.length)
      return new Tail(folder, last.name, handle, last.length, { segments: segments.slice(0, -1), hash });
    await handle.close();
    return undefined;
  }

  /** Bytes added since the last checkpoint. */
  get unkept(): number {
    return this.#length + this.#gatheredBytes - this.#kept;
  }

  /** Takes the next bytes; waits while a write is under way and enough for the next one has been gathered. */
  async add(piece: Buffer): Promise<void> {
    this.#hash?.update(piece);
    this.#gathered.push(piece);
    this.#gatheredBytes += piece.length;
    if (this.#gatheredBytes >= WRITE_BYTES || this.#gathered.length >= WRITE_PIECES) await this.#flush();
  }

  /** Has all bytes in the file, and answers the segments that they make up. `uploadUnknown` if the file was removed. */
  async checkpoint(): Promise<readonly Segment[]> {
    await this.#flush();
    await this.#written();
    const { nlink } = await guarded(() => this.#handle.stat());
    if (nlink === 0) throw fail.uploadUnknown();
    this.#kept = this.#length;
    this.#keptHash = this.#hash?.copy();
    return this.#segments();
  }

  /** The last checkpoint: nothing is on its way to the disk after it, and what was has got there. */
  async lastCheckpoint(): Promise<readonly Segment[]> {
    const segments = await this.checkpoint();
    await this.#settled();
    return segments;
  }

  /** The digest of all bytes of the upload up to the last checkpoint; undefined if this process did not see them all. */
  digest(algorithm: DigestAlgorithm): Digest | undefined {
    return this.#keptHash && endHash(algorithm, this.#keptHash.copy());
  }

  /** Has the bytes up to the last checkpoint, also none, on disk, and closes the file. If this fails they are lost. */
  async seal(): Promise<void> {
    try {
      await this.#settled();
      await guarded(() => this.#handle.sync());
    } finally {
      await this.#handle.close();
    }
  }

  /**
   * Closes the file, cut to the last checkpoint; answers how to go on, unless nothing was kept. If bytes were lost the file
   * is removed, and the upload with it: to whoever opened it again, the kernel would say that all are on the disk.
   */
  async close(): Promise<TailState | undefined> {
    try {
      await this.#writing;
      await this.#syncing;
      if (this.#isLost) this.#kept = 0;
      if (this.#kept === 0) await unlink(this.path);
      else if (this.#length !== this.#kept) await this.#handle.truncate(this.#kept);
      return this.#kept === 0 ? undefined : { segments: this.#segments(), hash: this.#keptHash };
    } catch {
      // The bytes that were acknowledged are there all the same; only this file is not gone on with.
      return undefined;
    } finally {
      await this.#handle.close();
    }
  }

  /** Gives up the whole file. */
  async discard(): Promise<void> {
    this.#kept = 0;
    await this.close();
  }

  #segments(): readonly Segment[] {
    return this.#kept === 0 ? this.#before : [...this.#before, { name: this.#name, length: this.#kept }];
  }

  /** Starts writing what was gathered, once the write before it is done. */
  async #flush(): Promise<void> {
    await this.#written();
    this.#startSync();
    if (this.#gatheredBytes === 0) return;
    const pieces = this.#gathered;
    const at = this.#length;
    this.#length += this.#gatheredBytes;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#writing = writeAll(this.#handle, pieces, at).catch(error => {
      this.#failure = error;
    });
  }

  /**
   * Has what was written taken to the disk, in the background. The kernel tells of a failure once, and then takes the bytes
   * for written: so it is kept.
   */
  #startSync(): void {
    if (this.#syncing || this.#length - this.#synced < SYNC_BYTES) return;
    this.#synced = this.#length;
    this.#syncing = this.#handle
      .datasync()
      .catch(error => {
        this.#failure = error;
        this.#isLost = true;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  /** Waits until nothing is on its way, neither to the file nor to the disk. */
  async #settled(): Promise<void> {
    await this.#syncing;
    await this.#written();
  }

  async #written(): Promise<void> {
    await this.#writing;
    if (this.#failure) throw storeError(this.#failure);
  }
}

/** Writes all bytes: a disk that is nearly full takes a part first, and says so only when asked again. */
async function writeAll(handle: FileHandle, pieces: Buffer[], at: number): Promise<void> {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  let { bytesWritten: done } = await handle.writev(pieces, at);
  if (done === length) return;
  const whole = Buffer.concat(pieces);
  while (done < length) {
    const { bytesWritten } = await handle.write(whole, done, length - done, at + done);
    done += bytesWritten;
  }
}
