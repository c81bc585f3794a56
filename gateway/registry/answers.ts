/** Answers that several resources give. */
import { type Digest, parseDigest } from '../../lib/oci/digest.js';
import type { RepositoryName } from '../../lib/oci/name.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';

/** Answers without a body. In this order: Koa drops headers and chooses a status of its own when a body is set. */
export function answerEmpty(ctx: Context, status: number, headers: Record<string, string | string[]> = {}): void {
  ctx.body = null;
  ctx.status = status;
  ctx.set(headers);
}

/** Says that a blob is in the repository, and where. */
export function answerBlobCreated(ctx: Context, repository: RepositoryName, digest: Digest): void {
  answerEmpty(ctx, 201, { Location: `/v2/${repository}/blobs/${digest}`, 'Docker-Content-Digest': digest });
}

/** The digest that a query names. Throws DIGEST_INVALID for none or a malformed one. */
export function digestOfQuery(query: URLSearchParams): Digest {
  const text = query.get('digest');
  if (text === null) throw oci.digestMissing();
  const digest = parseDigest(text);
  if (!digest) throw oci.digestMalformed(text);
  return digest;
}
