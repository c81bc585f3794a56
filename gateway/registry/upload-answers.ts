/** What answers about an unfinished upload have in common. */

import type { RepositoryName } from '../../lib/oci/name.js';
import { parseContentRange } from '../../lib/oci/range.js';
import { declaredLength } from '../http/body.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';

/** Where the client goes on, and from which byte. See written-uploads.ts for the query. */
export function uploadHeaders(repository: RepositoryName, uuid: string, byteCount: number): Record<string, string> {
  return {
    Location: `/v2/${repository}/blobs/uploads/${uuid}?offset=${byteCount}`,
    // Of an empty upload, too, `0-0`: the form has no way to say that there is no byte.
    Range: `0-${Math.max(0, byteCount - 1)}`,
    'Docker-Upload-UUID': uuid,
  };
}

/** The upload's size as its Location said it, if the client came by one of ours. */
export function offsetOfQuery(query: URLSearchParams): number | undefined {
  const text = query.get('offset');
  return text !== null && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

/** The part of the blob that a request's body is: `length` bytes from `start`. */
export interface Chunk {
  readonly start: number;
  readonly length: number;
}

/** Reads `Content-Range`. `malformed` if it is not one; throws SIZE_INVALID if the body has another length. */
export function chunkOf(ctx: Context): Chunk | 'malformed' | undefined {
  const header = ctx.req.headers['content-range'];
  if (header === undefined) return undefined;
  const range = parseContentRange(header);
  if (!range) return 'malformed';
  const length = range.end - range.start + 1;
  const declared = declaredLength(ctx.req);
  if (declared !== undefined && declared !== length) throw chunkSizeInvalid(length);
  return { start: range.start, length };
}

export function chunkSizeInvalid(length: number) {
  return oci.sizeInvalid(`the body does not have the ${length} bytes that its Content-Range says`);
}
