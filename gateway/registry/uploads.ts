/** `/v2/<name>/blobs/uploads/<uuid>`: an unfinished upload. */
import { declaredLength } from '../http/body.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import { answerBlobCreated, answerEmpty, digestOfQuery } from './answers.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';
import type { UploadRoute } from './routes.js';
import { uploadHeaders } from './upload-answers.js';
import { uploadClose } from './upload-close.js';
import { uploadDiscard } from './upload-discard.js';
import { uploadWrite } from './upload-write.js';

export function upload(parts: Parts): Resource<'upload'> {
  const { authorizer, replicationSignal, uploads, writtenUploads } = parts;
  const discarding = uploadDiscard(parts);
  const { write } = uploadWrite(parts, discarding);
  const { closeWritten, closeAsItIs } = uploadClose(parts, discarding);

  async function status(ctx: Context, { repository, uuid }: UploadRoute): Promise<void> {
    authorizer.demand(ctx, repository, 'push');
    const found = await uploads.find(repository, uuid);
    if (!found) throw oci.uploadUnknown();
    answerEmpty(ctx, 204, uploadHeaders(repository, uuid, found.byteCount));
  }

  async function cancel(ctx: Context, { repository, uuid }: UploadRoute): Promise<void> {
    authorizer.demand(ctx, repository, 'push');
    if (!(await discarding.discard(ctx, { repository, uuid }))) throw oci.uploadUnknown();
    answerEmpty(ctx, 204);
  }

  /** Appends the body. */
  async function patch(ctx: Context, route: UploadRoute): Promise<void> {
    const { repository, uuid } = route;
    authorizer.demand(ctx, repository, 'push');
    const { upload, end } = await write(ctx, route, async written => {
      await written.lease.release(written.end);
      return written;
    });
    const { algorithm, location } = upload;
    writtenUploads.remember(repository, uuid, { location, algorithm, byteCount: end.offset, session: end.session });
    answerEmpty(ctx, 202, uploadHeaders(repository, uuid, end.offset));
  }

  /** Appends the body, if there is one, and makes the blob. */
  async function put(ctx: Context, route: UploadRoute, query: URLSearchParams): Promise<void> {
    const { repository } = route;
    authorizer.demand(ctx, repository, 'push');
    const digest = digestOfQuery(query);
    if (declaredLength(ctx.req) === 0) await closeAsItIs(ctx, route, digest, query);
    else await write(ctx, route, written => closeWritten(ctx, route, written, digest));
    replicationSignal.notify();
    answerBlobCreated(ctx, repository, digest);
  }

  return { GET: status, PATCH: patch, PUT: put, DELETE: cancel };
}
