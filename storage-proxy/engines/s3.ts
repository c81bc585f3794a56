/**
 * The S3 family: blobs as objects of a bucket. One engine; the drivers differ in their arguments only (lib/config/engines/s3.ts).
 *
 * What makes it hard is that S3 cannot append. An object comes into being at once, or out of the parts of a multipart
 * upload, each of at least 5 MiB but the last; and what a multipart upload holds cannot be read before it is complete.
 *
 * **Chunks of any size become parts.** An append fills one buffer of 8 MiB, and sends it as a part when it is full, at
 * most two at a time: so its memory is three buffers, whatever the blob's size (s3/writer.ts). What is left at the end
 * becomes a part, too, if it is large enough for one. Otherwise it becomes an object of its own,
 * `uploads/<id>/<random name>`, and is read again when there is enough for a part. It is never rewritten, except that an
 * upload of more than 256 such objects, which together do not make one part, folds them into one, to keep its session
 * small. `capabilities.minChunkBytes` tells callers how to avoid all that.
 *
 * **A session** is a list of what its bytes lie in (s3/session.ts): completed objects, then the parts (entity tags and
 * sizes) of one open multipart upload, then small objects. A multipart upload gets 500 parts at most, then it is
 * completed, to an object below uploads/, and another begins. So parts need not grow: 5 TiB, the most that S3 allows,
 * are 1,311 completed objects of 20 characters each, two lists of 500 parts of 28, and a session of 54 KiB.
 *
 * **Another node goes on** by leaving alone what it did not write. It completes the open multipart upload to an object
 * below uploads/, and begins one of its own. The same happens when a caller goes back to an older checkpoint.
 *
 * **Writers cannot mix bytes**, since a multipart upload has one writer: the process that began it, which remembers
 * that (`Tail`), and lends it to one append at a time. Nothing is ever completed but with the entity tags of a session
 * in the order of that session. A writer that was fenced out finds its multipart upload completed or gone
 * (`uploadUnknown`), or has added parts behind those of the session, which end up beyond the length that is read.
 *
 * **The digest** is the running hash of the process that wrote every byte, for each of which the store has confirmed
 * the part it was in (each request is signed with the hash of its body). The process remembers the hash as it was at
 * the last checkpoints. If it was lost with a node, or anything is uncertain, the commit reads all bytes back from the
 * completed objects. Both come before the blob's key shows anything.
 *
 * **Commit** copies, inside the store, from uploads/ to the blob's key: a single object of up to 1 GiB with one
 * CopyObject, anything else with UploadPartCopy, four ranges of 256 MiB at a time (as large as it takes for at most 1,000
 * parts). With `server_side_assembly: false` the bytes pass through the node instead. A blob that is there already is
 * verified and left alone. A commit that is repeated finds the upload gone and the blob there, and is content.
 *
 * **With a digest that is known from the start** the copy is spared: the first 500 parts (4 GiB) go to a multipart
 * upload of the blob's key itself. Its completion is the moment of visibility, and comes only after the running hash has
 * matched; what follows the 500 parts is copied in before that. A small blob is put to its key by one request, once its
 * bytes have hashed to its digest. The price: if the hash is lost, these parts can be neither verified nor read, so
 * `append` and `commit` answer `uploadUnknown` and the caller begins again. Only replication does this, and has the
 * blob elsewhere.
 *
 * **Each upload has a marker**, `uploads/<id>/upload`. To give an upload up is to delete the marker, then everything
 * below uploads/<id>/. Whoever stores something there looks for the marker after it, so nothing stays behind. The marker
 * of an upload that goes straight to a blob's key tells the id of that multipart upload.
 *
 * **What is stale** is found by two listings (s3/stale.ts): of the objects below uploads/, and of all multipart uploads
 * below the prefix. Killed commits leave a multipart upload at a blob's key, and those are found as well.
 *
 * Limits of time, connections and retries stand with their reasons in s3/client.ts and s3/requests.ts. What a store says
 * is translated in s3/errors.ts, and never repeated in its own words.
 */

import type { S3Settings } from '../../lib/config/engines/s3.js';
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
import { Blobs } from './s3/blobs.js';
import { BucketClient } from './s3/bucket.js';
import { Keys } from './s3/keys.js';
import { probe } from './s3/probe.js';
import { readSession } from './s3/session.js';
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

  nameOf(session: Session): string {
    return readSession(session).id;
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
