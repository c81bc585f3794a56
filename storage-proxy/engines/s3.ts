/** placeholder */
import type { Digest } from '../../lib/oci/digest.js';
import type {
  BlobBody,
  BlobEntry,
  ByteRange,
  Checkpoint,
  Engine,
  EngineCapabilities,
  Probe,
  Session,
  StaleUpload,
  UploadPlan,
} from './engine.js';
import type { S3Settings } from './s3/arguments.js';
import { Blobs } from './s3/blobs.js';
import { BucketClient } from './s3/bucket.js';
import { Keys } from './s3/keys.js';
import { probe } from './s3/probe.js';
import { Staging, type Tuning } from './s3/staging.js';
import { staleUploads } from './s3/stale.js';
import { Uploads } from './s3/uploads.js';

/** What the protocol allows for one object. */
const MAX_BLOB_BYTES = 5 * 1024 ** 4;

export class S3Engine implements Engine {
  readonly driver: string;
  readonly capabilities: EngineCapabilities;
  readonly #bucket: BucketClient;
  readonly #keys: Keys;
  readonly #blobs: Blobs;
  readonly #staging: Staging;
  readonly #uploads: Uploads;

  constructor(settings: S3Settings, tuning: Tuning = {}) {
    this.driver = settings.driver;
    this.capabilities = { minChunkBytes: settings.minPartBytes, maxBlobBytes: MAX_BLOB_BYTES };
    this.#bucket = new BucketClient(settings);
    this.#keys = new Keys(settings.root);
    this.#blobs = new Blobs(this.#bucket, this.#keys);
    this.#staging = new Staging(this.#bucket, this.#keys, settings.minPartBytes, tuning);
    this.#uploads = new Uploads(this.#staging, settings);
  }

  stat(digest: Digest, signal?: AbortSignal): Promise<number | undefined> {
    return this.#blobs.stat(digest, signal);
  }

  read(digest: Digest, range: ByteRange, signal?: AbortSignal): Promise<BlobBody> {
    return this.#blobs.read(digest, range, signal);
  }

  remove(digest: Digest, signal?: AbortSignal): Promise<void> {
    return this.#blobs.remove(digest, signal);
  }

  list(after: Digest | undefined, signal?: AbortSignal): AsyncIterable<BlobEntry> {
    return this.#blobs.list(after, signal);
  }

  begin(plan: UploadPlan, signal?: AbortSignal): Promise<Checkpoint> {
    return this.#uploads.begin(plan, signal);
  }

  append(
    session: Session,
    source: AsyncIterable<Buffer>,
    onCheckpoint: (checkpoint: Checkpoint) => void,
    signal?: AbortSignal,
  ): Promise<Checkpoint> {
    return this.#uploads.append(session, source, onCheckpoint, signal);
  }

  commit(session: Session, digest: Digest, signal?: AbortSignal): Promise<number> {
    return this.#uploads.commit(session, digest, signal);
  }

  abort(session: Session, signal?: AbortSignal): Promise<void> {
    return this.#uploads.abort(session, signal);
  }

  staleUploads(before: number, signal?: AbortSignal): AsyncIterable<StaleUpload> {
    return staleUploads(this.#staging, before, signal);
  }

  probe(signal?: AbortSignal): Promise<Probe> {
    return probe(this.#bucket, this.#keys, signal);
  }
}
