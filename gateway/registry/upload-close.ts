/** Closing an upload: the blob is made of its bytes, and recorded. */
import type { Digest } from '../../lib/oci/digest.js';
import { hasReason } from '../../lib/rpc/errors.js';
import { annotate } from '../../lib/telemetry/span.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import type { Parts } from './parts.js';
import type { UploadRoute } from './routes.js';
import { offsetOfQuery } from './upload-answers.js';
import { isOver, type UploadDiscard } from './upload-discard.js';
import { commitBlob, locationOf } from './upload-storage.js';
import type { Written } from './upload-write.js';
import type { KnownUpload } from './written-uploads.js';

export interface UploadClose {
  /** Closes an upload that this request has written to. */
  closeWritten(ctx: Context, route: UploadRoute, written: Written, digest: Digest): Promise<void>;
  /** Closes an upload to which nothing is added any more; also one that such a request has closed before. */
  closeAsItIs(ctx: Context, route: UploadRoute, digest: Digest, query: URLSearchParams): Promise<void>;
}

export function uploadClose(parts: Parts, { discardQuietly, discardUnlessGoneOn }: UploadDiscard): UploadClose {
  const { authorizer, blobs, locations, uploads, writtenUploads } = parts;

  async function closeWritten(ctx: Context, route: UploadRoute, written: Written, digest: Digest): Promise<void> {
    const { upload, lease, end } = written;
    const known = { ...upload, session: end.session, byteCount: end.offset };
    if (!(await close(ctx, route, known, digest, { writer: lease.writer }))) throw oci.uploadTakenOver();
    lease.end();
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
    if (!blob || blob.isLost) throw oci.uploadUnknown();
  }

  /** Closes an upload by what this gateway remembers of it; false if that turned out to be old. */
  async function closeKnown(ctx: Context, route: UploadRoute, known: KnownUpload, digest: Digest): Promise<boolean> {
    try {
      return await close(ctx, route, known, digest, { byteCount: known.byteCount });
    } catch (error) {
      if (hasReason(error, 'UPLOAD_UNKNOWN')) return false;
      // A client may have come by an older Location, and the upload have gone on at another gateway since.
      if (isOver(error) && !(await discardUnlessGoneOn(ctx, route, known.byteCount))) return false;
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

  return { closeWritten, closeAsItIs };
}
