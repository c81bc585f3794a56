/** `/v2/<name>/blobs/uploads/<uuid>`: an unfinished upload. */
import { randomUUID } from 'node:crypto';
import { appendUpload } from '../../lib/locations/append.js';
import type { Checkpoint } from '../../lib/locations/store.js';
import type { Upload } from '../../lib/metadata/uploads.js';
import type { Digest } from '../../lib/oci/digest.js';
import { hasReason } from '../../lib/rpc/errors.js';
import { annotate } from '../../lib/telemetry/span.js';
import { declaredLength, readBody } from '../http/body.js';
import type { Context } from '../http/context.js';
import { OciError, oci } from '../http/errors.js';
import { answerBlobCreated, answerEmpty, digestOfQuery } from './answers.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';
import type { Route } from './routes.js';
import { type Chunk, chunkOf, chunkSizeInvalid, offsetOfQuery, uploadHeaders } from './upload-answers.js';
import { abortQuietly, commitBlob, layerTooLarge, locationOf } from './upload-storage.js';
import { WriterLease } from './writer-lease.js';
import type { KnownUpload } from './written-uploads.js';

type UploadRoute = Extract<Route, { kind: 'upload' }>;

export function upload(parts: Parts): Resource<'upload'> {
  const { authorizer, blobs, config, locations, replayBudget, replicationSignal, uploads, writtenUploads } = parts;

  async function status(ctx: Context, { repository, uuid }: UploadRoute): Promise<void> {
    authorizer.demand(ctx, repository, 'push');
    const found = await uploads.find(repository, uuid);
    if (!found) throw oci.uploadUnknown();
    answerEmpty(ctx, 204, uploadHeaders(repository, uuid, found.byteCount));
  }

  async function cancel(ctx: Context, { repository, uuid }: UploadRoute): Promise<void> {
    authorizer.demand(ctx, repository, 'push');
    if (!(await discard(ctx, { repository, uuid }))) throw oci.uploadUnknown();
    answerEmpty(ctx, 204);
  }

  /** Appends the body. */
  async function patch(ctx: Context, route: UploadRoute): Promise<void> {
    const { repository, uuid } = route;
    authorizer.demand(ctx, repository, 'push');
    const chunk = await readChunk(ctx, route);
    const { lease, claimed } = await claim(ctx, route, chunk);
    const end = await underLease(ctx, route, lease, async () => {
      const checkpoint = await append(ctx, claimed, lease, chunk);
      await lease.release(checkpoint);
      return checkpoint;
    });
    const { algorithm, location } = claimed;
    const known = { location, algorithm, byteCount: end.offset, session: end.session };
    writtenUploads.remember(repository, uuid, known);
    answerEmpty(ctx, 202, uploadHeaders(repository, uuid, end.offset));
  }

  /** Appends the body, if there is one, and makes the blob. */
  async function put(ctx: Context, route: UploadRoute, query: URLSearchParams): Promise<void> {
    const { repository } = route;
    authorizer.demand(ctx, repository, 'push');
    const digest = digestOfQuery(query);
    if (declaredLength(ctx.req) === 0) await closeAsItIs(ctx, route, digest, query);
    else await closeWithBody(ctx, route, digest);
    replicationSignal.notify();
    answerBlobCreated(ctx, repository, digest);
  }

  async function closeWithBody(ctx: Context, route: UploadRoute, digest: Digest): Promise<void> {
    const chunk = await readChunk(ctx, route);
    const { lease, claimed } = await claim(ctx, route, chunk);
    await underLease(ctx, route, lease, async () => {
      const { session, offset } = await append(ctx, claimed, lease, chunk);
      const written = { ...claimed, session, byteCount: offset };
      if (!(await close(ctx, route, written, digest, { writer: lease.writer }))) throw oci.uploadTakenOver();
      lease.end();
    });
  }

  async function closeAsItIs(ctx: Context, route: UploadRoute, digest: Digest, query: URLSearchParams): Promise<void> {
    const known = writtenUploads.take(route.repository, route.uuid, offsetOfQuery(query));
    if (known && (await closeKnown(ctx, route, known, digest))) return;
    const found = await uploads.find(route.repository, route.uuid);
    if (!found) return demandClosed(ctx, route, digest);
    const { byteCount } = found;
    if (!found.allowed) {
      await discardQuietly(ctx, route);
      throw oci.uploadMisplaced();
    }
    try {
      if (await close(ctx, route, found, digest, { byteCount })) return;
    } catch (error) {
      if (isOver(error)) await discardQuietly(ctx, route);
      throw error;
    }
    if (await uploads.find(route.repository, route.uuid)) throw oci.uploadBusy();
    await demandClosed(ctx, route, digest);
  }

  /**
   * For an upload that is gone. The request that closed it may be this one, repeated since its answer was lost, by the
   * client or by a proxy on the way when a gateway died: it gets the same answer again, which is true as long as the
   * repository has the blob. That holds for any upload, also one that never was: the answer says nothing about it, and
   * nothing that the caller could not ask with HEAD. A request with a body is not answered so: nobody has looked at
   * its bytes.
   */
  async function demandClosed(ctx: Context, { repository }: UploadRoute, digest: Digest): Promise<void> {
    if (!authorizer.allows(ctx, repository, 'pull')) throw oci.uploadUnknown();
    const { blob } = await blobs.find(repository, digest);
    if (!blob || blob.locations.length === 0) throw oci.uploadUnknown();
  }

  /** Closes an upload by what this gateway remembers of it; false if that turned out to be old. */
  async function closeKnown(ctx: Context, route: UploadRoute, known: KnownUpload, digest: Digest): Promise<boolean> {
    try {
      return await close(ctx, route, known, digest, { byteCount: known.byteCount });
    } catch (error) {
      if (hasReason(error, 'UPLOAD_UNKNOWN')) return false;
      if (isOver(error)) await discardQuietly(ctx, route);
      throw error;
    }
  }

  /**
   * Makes the blob and records it; false if somebody else changed the upload meanwhile. If it must not be there any more,
   * what was made stays, and belongs to nobody: it cannot be removed safely, since the same blob may just be recorded
   * for another namespace. That happens only if the namespace's locations were changed since the last chunk.
   */
  async function close(
    ctx: Context,
    { repository, uuid }: UploadRoute,
    { location: name, session }: KnownUpload,
    digest: Digest,
    held: { writer: string } | { byteCount: number },
  ): Promise<boolean> {
    annotate({ 'entrepot.digest': digest });
    const size = await commitBlob(locationOf(locations, name), session, digest, { ...ctx.state, affinity: uuid });
    const { traceId } = ctx.state;
    const finish = await uploads.finish({ repository, uuid, held, digest, size, location: name, traceId });
    if (finish === 'misplaced') throw oci.uploadMisplaced();
    return finish === 'done';
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

  async function claim(
    ctx: Context,
    route: UploadRoute,
    chunk: Chunk | undefined,
  ): Promise<{ lease: WriterLease; claimed: Upload }> {
    const { repository, uuid } = route;
    const writer = randomUUID();
    const claim = await uploads.claim(repository, uuid, writer, chunk?.start);
    switch (claim.kind) {
      case 'claimed':
        if (!claim.upload.allowed) {
          await discardQuietly(ctx, route);
          throw oci.uploadMisplaced();
        }
        return { claimed: claim.upload, lease: new WriterLease(uploads, claim.upload, writer) };
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
   * Runs `write`; if it fails, gives the lease up so that the client can go on from the last byte that is safe, or
   * removes the upload if nothing could come of it any more.
   */
  async function underLease<T>(
    ctx: Context,
    route: UploadRoute,
    lease: WriterLease,
    write: () => Promise<T>,
  ): Promise<T> {
    try {
      return await write();
    } catch (thrown) {
      lease.end();
      const error = lease.signal.aborted ? lease.signal.reason : thrown;
      if (isOver(error)) await discardQuietly(ctx, route);
      else if (!lease.signal.aborted) await lease.release(lease.newest).catch(() => {});
      throw error;
    }
  }

  /** Appends the body to the upload; resolves to the checkpoint after its last byte. */
  async function append(ctx: Context, claimed: Upload, lease: WriterLease, chunk?: Chunk): Promise<Checkpoint> {
    const room = Math.max(0, config.maximumLayerSize - claimed.byteCount);
    const tooLarge = () =>
      chunk && chunk.length <= room ? chunkSizeInvalid(chunk.length) : layerTooLarge(config.maximumLayerSize);
    const over = new AbortController();
    const body = readBody(ctx, {
      limit: Math.min(room, chunk?.length ?? room),
      tooLarge,
      signal: AbortSignal.any([over.signal, lease.signal]),
    });
    const { byteCount, session } = claimed;
    try {
      const location = locationOf(locations, claimed.location);
      const end = await appendUpload({
        location,
        start: { offset: byteCount, session },
        source: body,
        onCheckpoint: each => lease.note(each),
        budget: replayBudget,
        context: { traceId: ctx.state.traceId, signal: lease.signal, affinity: claimed.uuid },
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

  /** Removes an upload and frees its bytes; false if there was none. */
  async function discard(ctx: Context, { repository, uuid }: Omit<UploadRoute, 'kind'>): Promise<boolean> {
    const removed = await uploads.remove(repository, uuid);
    const location = removed && locations.get(removed.location);
    if (location) await abortQuietly(location, removed.session, ctx.state.log);
    return removed !== undefined;
  }

  /** The same, for an upload that has failed: the client is to hear why, whatever becomes of this. */
  async function discardQuietly(ctx: Context, route: UploadRoute): Promise<void> {
    try {
      await discard(ctx, route);
    } catch (error) {
      ctx.state.log.debug({ err: error }, 'an upload is left to expire');
    }
  }

  return { GET: status, HEAD: status, PATCH: patch, PUT: put, DELETE: cancel };
}

/** Whether nothing can come of the upload after this error: its bytes are others than the client said, too many, or misplaced. */
function isOver(error: unknown): boolean {
  if (hasReason(error, 'UPLOAD_UNKNOWN', 'DIGEST_MISMATCH')) return true;
  return (
    error instanceof OciError &&
    (error.code === 'DIGEST_INVALID' || error.code === 'BLOB_UPLOAD_UNKNOWN' || error.status === 413)
  );
}
