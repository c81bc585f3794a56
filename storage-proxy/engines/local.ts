/**
 * LocalStorage: blobs as files below one folder.
 *
 * Several processes may work on the folder at once, also over a file system that several machines share. What keeps
 * them apart is not a lock but who writes to which file:
 *
 * - An upload is a folder of *segments*. Each is created with O_EXCL by one writer, and only that writer ever extends
 *   it. The session that a caller holds lists file names and lengths, so it stands for exactly the bytes that led to
 *   it, whatever other writers of the same upload do, and whatever a killed one left behind those lengths.
 * - A process that wrote the last segment goes on in it, with the hash of the whole upload still running (tail.ts);
 *   any other begins a new segment.
 * - An append is acknowledged when its bytes are in the page cache: they survive this process, as the contract asks.
 * - A commit of an upload that one process wrote into one segment compares the running hash, syncs the file, moves it
 *   to its key and syncs the folder. Any other upload is first copied into one file, and the hash is taken of what was
 *   read: that is the read-back. Moving replaces what is there, and so heals a blob that was damaged.
 * - A sync that fails fails the upload: the system may have dropped the bytes and forgotten about it, so a second
 *   try would lie. The upload is removed, and its caller begins again.
 * - Everything unfinished lies in uploads/, where `staleUploads` finds it.
 */
import { resolve } from 'node:path';
import type { LocalSettings } from '../../lib/config/engines/local.js';
import type { Digest } from '../../lib/oci/digest.js';
import type {
  BlobBody,
  BlobEntry,
  ByteRange,
  Checkpoint,
  Engine,
  Probe,
  Session,
  StaleUpload,
  UploadPlan,
} from './engine.js';
import { Files } from './local/files.js';
import { Layout } from './local/layout.js';
import { probe } from './local/probe.js';
import { readSession } from './local/session.js';
import { Uploads } from './local/uploads.js';

export class LocalStorage implements Engine {
  readonly driver = 'LocalStorage';
  readonly capabilities = { minChunkBytes: 0, maxBlobBytes: 0 };
  readonly #layout: Layout;
  readonly #files: Files;
  readonly #uploads: Uploads;

  constructor(options: LocalSettings) {
    this.#layout = new Layout(resolve(options.storage_path));
    this.#files = new Files(this.#layout);
    this.#uploads = new Uploads(this.#layout);
  }

  stat(digest: Digest): Promise<number | undefined> {
    return this.#files.stat(digest);
  }

  read(digest: Digest, range: ByteRange, signal?: AbortSignal): Promise<BlobBody> {
    return this.#files.read(digest, range, signal);
  }

  remove(digest: Digest): Promise<void> {
    return this.#files.remove(digest);
  }

  list(after: Digest | undefined, signal?: AbortSignal): AsyncIterable<BlobEntry> {
    return this.#files.list(after, signal);
  }

  begin(plan: UploadPlan): Promise<Checkpoint> {
    return this.#uploads.begin(plan);
  }

  append(
    session: Session,
    source: AsyncIterable<Buffer>,
    onCheckpoint: (checkpoint: Checkpoint) => void,
    signal?: AbortSignal,
  ): Promise<Checkpoint> {
    return this.#uploads.append(session, source, onCheckpoint, signal);
  }

  nameOf(session: Session): string {
    return readSession(session).name;
  }

  commit(session: Session, digest: Digest, signal?: AbortSignal): Promise<number> {
    return this.#uploads.commit(session, digest, signal);
  }

  abort(session: Session): Promise<void> {
    return this.#uploads.abort(session);
  }

  staleUploads(before: number, signal?: AbortSignal): AsyncIterable<StaleUpload> {
    return this.#uploads.stale(before, signal);
  }

  probe(): Promise<Probe> {
    return probe(this.#layout);
  }
}
