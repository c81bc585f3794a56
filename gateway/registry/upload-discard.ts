/** Removing an upload, and when that is to be done: nothing can come of it any more, or its client does not want it. */
import { hasReason } from '../../lib/rpc/errors.js';
import type { Context } from '../http/context.js';
import { OciError } from '../http/errors.js';
import type { Parts } from './parts.js';
import type { UploadRoute } from './routes.js';
import { abortQuietly } from './upload-storage.js';

type Address = Pick<UploadRoute, 'repository' | 'uuid'>;

export interface UploadDiscard {
  /** Removes an upload and frees its bytes; false if there was none. */
  discard(ctx: Context, upload: Address): Promise<boolean>;
  /** The same, for an upload that has failed: the client is to hear why, whatever becomes of this. */
  discardQuietly(ctx: Context, upload: Address): Promise<void>;
  /**
   * The same, for an upload that has failed with `byteCount` bytes. False if it has others by now, since its client went
   * on at another gateway: then it stays, for they may be right. True also if the database cannot be asked.
   */
  discardUnlessGoneOn(ctx: Context, upload: Address, byteCount: number): Promise<boolean>;
}

export function uploadDiscard({ locations, uploads }: Pick<Parts, 'locations' | 'uploads'>): UploadDiscard {
  async function discard(ctx: Context, { repository, uuid }: Address): Promise<boolean> {
    const removed = await uploads.remove(repository, uuid);
    const location = removed && locations.get(removed.location);
    if (location) await abortQuietly(location, removed.session, ctx.state.log);
    return removed !== undefined;
  }

  async function discardQuietly(ctx: Context, upload: Address): Promise<void> {
    try {
      await discard(ctx, upload);
    } catch (error) {
      leftToExpire(ctx, error);
    }
  }

  async function discardUnlessGoneOn(ctx: Context, upload: Address, byteCount: number): Promise<boolean> {
    try {
      const found = await uploads.find(upload.repository, upload.uuid);
      if (found && found.byteCount !== byteCount) return false;
      if (found) await discard(ctx, upload);
    } catch (error) {
      leftToExpire(ctx, error);
    }
    return true;
  }

  return { discard, discardQuietly, discardUnlessGoneOn };
}

function leftToExpire(ctx: Context, error: unknown): void {
  ctx.state.log.debug({ err: error }, 'an upload is left to expire');
}

/** Whether nothing can come of the upload after this error: its bytes are others than the client said, too many, or misplaced. */
export function isOver(error: unknown): boolean {
  if (hasReason(error, 'UPLOAD_UNKNOWN', 'DIGEST_MISMATCH')) return true;
  return (
    error instanceof OciError &&
    (error.code === 'DIGEST_INVALID' || error.code === 'BLOB_UPLOAD_UNKNOWN' || error.status === 413)
  );
}
