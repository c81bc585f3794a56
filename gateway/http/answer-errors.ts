/** The one place where whatever a handler threw becomes an answer. */
import { BlobUnavailable } from '../../lib/locations/read.js';
import { NoLocationWritable } from '../../lib/locations/upload.js';
import { DatabaseUnavailable, LocationClosed } from '../../lib/metadata/database.js';
import { hasReason, isTransient } from '../../lib/rpc/errors.js';
import { ClientGone } from './body.js';
import type { Context, Next } from './context.js';
import { OciError, oci } from './errors.js';

/**
 * Answers errors in the specification's form. An error after the head of the answer was sent cuts the connection: the
 * client must not take a part of a blob for the whole.
 */
export async function answerErrors(ctx: Context, next: Next): Promise<void> {
  try {
    await next();
  } catch (thrown) {
    if (thrown instanceof ClientGone || ctx.state.signal.aborted) {
      ctx.respond = false;
      ctx.res.destroy();
      return;
    }
    const error = asOciError(thrown);
    ctx.state.errorCode = error.code;
    report(ctx, error, thrown);
    if (ctx.res.headersSent) {
      ctx.respond = false;
      ctx.res.destroy();
      return;
    }
    ctx.set('Content-Type', 'application/json');
    ctx.body = error.toJson();
    ctx.status = error.status;
    ctx.set({ ...error.headers });
  }
}

/** What a client is told about an error. */
function asOciError(error: unknown): OciError {
  if (error instanceof OciError) return error;
  if (error instanceof DatabaseUnavailable) {
    return oci.unavailable('the registry cannot reach its database now', error);
  }
  if (error instanceof LocationClosed) return oci.unavailable(`${error.message}: push again`, error);
  if (error instanceof BlobUnavailable || error instanceof NoLocationWritable) {
    return oci.unavailable(error.summary, error);
  }
  if (hasReason(error, 'TOO_LARGE')) return oci.tooLarge(error.message);
  if (hasReason(error, 'UPLOAD_UNKNOWN')) return oci.uploadUnknown();
  if (hasReason(error, 'DISK_FULL')) return oci.unavailable('the store has no space left', error);
  // 429 rather than 503: it is the one status after which clients wait and try again by themselves.
  if (hasReason(error, 'BUSY')) return oci.tooManyRequests('the storage is busy', error);
  if (isTransient(error)) return oci.unavailable('the storage cannot be reached now', error);
  return oci.unexpected(error);
}

function report(ctx: Context, error: OciError, thrown: unknown): void {
  const { log } = ctx.state;
  if (error.status === 500 || ctx.res.headersSent) log.error({ err: thrown }, 'a request failed');
  else if (error.status > 500) log.warn({ err: error.cause ?? error }, error.message);
  else log.debug({ status: error.status, code: error.code }, error.message);
}
