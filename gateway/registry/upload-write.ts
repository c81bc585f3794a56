/** Writing a request's body to an upload, as its one writer. */
import { randomUUID } from 'node:crypto';
import { appendUpload } from '../../lib/locations/append.js';
import type { Checkpoint } from '../../lib/locations/store.js';
import type { Upload } from '../../lib/metadata/uploads.js';
import { readBody } from '../http/body.js';
import type { Context } from '../http/context.js';
import { OciError, oci } from '../http/errors.js';
import type { Parts } from './parts.js';
import type { UploadRoute } from './routes.js';
import { type Chunk, chunkOf, chunkSizeInvalid, uploadHeaders } from './upload-answers.js';
import { isOver, type UploadDiscard } from './upload-discard.js';
import { layerTooLarge, locationOf } from './upload-storage.js';
import { WriterLease } from './writer-lease.js';

/** An upload that this request alone may write to. */
interface Claimed {
  readonly upload: Upload;
  readonly lease: WriterLease;
}

/** An upload, and where it is after a request's body. */
export interface Written extends Claimed {
  readonly end: Checkpoint;
}

export interface UploadWrite {
  /** Appends the body, and then does what `finish` does while it still is the only writer. */
  write<T>(ctx: Context, route: UploadRoute, finish: (written: Written) => Promise<T>): Promise<T>;
}

export function uploadWrite(parts: Parts, { discardQuietly }: UploadDiscard): UploadWrite {
  const { config, locations, replayBudget, uploads } = parts;

  async function write<T>(ctx: Context, route: UploadRoute, finish: (written: Written) => Promise<T>): Promise<T> {
    const chunk = await readChunk(ctx, route);
    const claimed = await claim(ctx, route, chunk);
    return underLease(ctx, route, claimed.lease, async () => {
      const end = await append(ctx, claimed, chunk);
      return finish({ ...claimed, end });
    });
  }

  /** The part of the blob that the body says it is. A Content-Range that is malformed can only be out of order. */
  async function readChunk(ctx: Context, { repository, uuid }: UploadRoute): Promise<Chunk | undefined> {
    const chunk = chunkOf(ctx);
    if (chunk !== 'malformed') return chunk;
    const found = await uploads.find(repository, uuid);
    if (!found) throw oci.uploadUnknown();
    throw oci.uploadRange(
      'the Content-Range must be <first>-<last>, two numbers of bytes',
      uploadHeaders(repository, uuid, found.byteCount),
    );
  }

  /** Becomes the upload's writer, if nobody else is, and it may be where it is, and it ends where the chunk begins. */
  async function claim(ctx: Context, route: UploadRoute, chunk: Chunk | undefined): Promise<Claimed> {
    const { repository, uuid } = route;
    const writer = randomUUID();
    const claim = await uploads.claim(repository, uuid, writer, chunk?.start);
    switch (claim.kind) {
      case 'claimed':
        if (!claim.upload.allowed) {
          await discardQuietly(ctx, route);
          throw oci.uploadMisplaced();
        }
        return { upload: claim.upload, lease: new WriterLease(uploads, claim.upload, writer) };
      case 'unknown':
        throw oci.uploadUnknown();
      case 'busy':
        throw oci.uploadBusy();
      default:
        throw oci.uploadRange(
          `the upload has ${claim.byteCount} bytes: the next chunk must begin there`,
          uploadHeaders(repository, uuid, claim.byteCount),
        );
    }
  }

  /**
   * Runs `work`; if it fails, gives the lease up so that the client can go on from the last byte that is safe, or
   * removes the upload if nothing could come of it any more.
   */
  async function underLease<T>(
    ctx: Context,
    route: UploadRoute,
    lease: WriterLease,
    work: () => Promise<T>,
  ): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      lease.end();
      const error = lease.signal.aborted ? lease.signal.reason : thrown;
      if (isOver(error)) await discardQuietly(ctx, route);
      else if (!lease.signal.aborted) await lease.release(lease.newest).catch(() => {});
      throw error;
    }
  }

  /** Appends the body to the upload; resolves to the checkpoint after its last byte. */
  async function append(ctx: Context, { upload, lease }: Claimed, chunk?: Chunk): Promise<Checkpoint> {
    const room = Math.max(0, config.maximumLayerSize - upload.byteCount);
    const tooLarge = () =>
      chunk && chunk.length <= room ? chunkSizeInvalid(chunk.length) : layerTooLarge(config.maximumLayerSize);
    const over = new AbortController();
    const body = readBody(ctx, {
      limit: Math.min(room, chunk?.length ?? room),
      tooLarge,
      signal: AbortSignal.any([over.signal, lease.signal]),
    });
    const { byteCount, session } = upload;
    try {
      const location = locationOf(locations, upload.location);
      const end = await appendUpload({
        location,
        start: { offset: byteCount, session },
        source: body,
        onCheckpoint: each => lease.note(each),
        budget: replayBudget,
        context: { traceId: ctx.state.traceId, signal: lease.signal, affinity: upload.uuid },
      });
      if (chunk && end.offset !== byteCount + chunk.length) throw chunkSizeInvalid(chunk.length);
      return end;
    } catch (error) {
      // A chunk that is not what it said is not taken, not even in part.
      if (error instanceof OciError && error.status === 400) lease.note({ offset: byteCount, session });
      throw error;
    } finally {
      // The storage may have failed while the client is silent; nobody asks for the body's next bytes then.
      over.abort();
    }
  }

  return { write };
}
