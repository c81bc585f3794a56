/** What a client has already is not sent again: `If-None-Match` (RFC 9110). A digest in quotes is the ETag of its bytes. */
import type { Digest } from '../../lib/oci/digest.js';
import type { Context } from '../http/context.js';
import { answerEmpty } from './answers.js';

export function etagOf(digest: Digest): string {
  return `"${digest}"`;
}

/** Answers 304, and true, if the client says that it has these bytes. Call it once the client may have them, and they are there. */
export function answerIfKnown(ctx: Context, digest: Digest): boolean {
  const header = ctx.req.headers['if-none-match'];
  if (header === undefined || !names(header, etagOf(digest))) return false;
  answerEmpty(ctx, 304, { ETag: etagOf(digest), 'Docker-Content-Digest': digest });
  return true;
}

/** A weak ETag counts as well: bytes of one digest are the same ones. */
function names(header: string, etag: string): boolean {
  return header.trim() === '*' || header.split(',').some(each => each.trim().replace(/^W\//, '') === etag);
}
