/**
 * What the store answers, in the words of the engine contract.
 *
 * Of the store's own words only the code is kept: its sentences may repeat keys, signatures and addresses.
 */

import type { ArgumentNames } from '../../../lib/config/engines/s3.js';
import { fail, hasReason, StatusError } from '../../../lib/rpc/errors.js';

/** Whether an error says that the object, or the multipart upload, is not there (any more). */
export function isGone(error: unknown): boolean {
  return error instanceof ObjectMissing || hasReason(error, 'UPLOAD_UNKNOWN');
}

/** An object that is not there. Whoever asked for it knows what that means, so this never leaves the engine. */
export class ObjectMissing extends Error {
  override readonly name = 'ObjectMissing';
}

/** A conditional write found the object there already. */
export class ObjectExists extends Error {
  override readonly name = 'ObjectExists';
}

/** A feature that this kind of store does not have, or not for us. */
export class NotImplemented extends Error {
  override readonly name = 'NotImplemented';
}

/** What gives out credentials failed. Its answers, a 404 for one, are not the store's about an object. */
export class NoCredentials extends Error {
  override readonly name = 'NoCredentials';
  readonly code: string;

  constructor(error: unknown) {
    super('no credentials could be had');
    this.code = error instanceof Error ? codeOf(error).code : 'unknown';
  }
}

const REFUSED = [
  'AccessDenied',
  'AccountProblem',
  'ExpiredToken',
  'Forbidden',
  'InvalidAccessKeyId',
  'InvalidToken',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
  'UserSuspended',
  // Versity, with status 404.
  'XAdminUserNotFound',
  '403',
];
const NO_CREDENTIALS = [
  'CredentialsProviderError',
  'TokenProviderError',
  'InvalidIdentityToken',
  'InvalidClientTokenId',
];
const FULL = [
  'InsufficientCapacity',
  'InsufficientStorage',
  'NotEnoughSpace',
  'QuotaExceeded',
  // A quota, too: no request of ours is anywhere near a size limit of the protocol.
  'EntityTooLarge',
  'XMinioStorageFull',
];
const NOT_TRUSTED = [
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];
const WRONG_REGION = ['AuthorizationHeaderMalformed', 'PermanentRedirect', 'IllegalLocationConstraintException'];

/** Whether the store answered that we may not. */
export function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, status } = codeOf(error);
  return REFUSED.includes(code) || status === 403;
}

/** The StatusError (or one of the errors above) for a failed request; what is no answer of a store is handed back as it is. */
export function s3Error(error: unknown, names: ArgumentNames): unknown {
  if (!(error instanceof Error) || error instanceof StatusError) return error;
  if (isFault(error)) return error;
  const { code, status } = codeOf(error);
  const cause = new Error(`the store answered ${code}${status ? ` (HTTP ${status})` : ''}`);
  const unreachable = (message: string) => fail.storeUnreachable(message, cause);
  const refused = () =>
    unreachable(`the store refuses us (${code}): see ${names.keys}, and what they allow on ${names.bucket}`);

  if (error instanceof NoCredentials || NO_CREDENTIALS.includes(code))
    return unreachable(`no credentials could be had (${code}): see ${names.keys}`);
  if (code === 'NoSuchBucket') return unreachable(`the bucket does not exist: see ${names.bucket}`);
  if (code === 'NoSuchUpload') return fail.uploadUnknown(cause);
  // A rival has written a part over one of ours: what the session stands for is gone.
  if (code === 'InvalidPart' || code === 'InvalidPartOrder') return fail.uploadUnknown(cause);
  if (REFUSED.includes(code)) return refused();
  if (code === 'NoSuchKey' || code === 'NotFound' || status === 404) return new ObjectMissing(cause.message);
  if (code === 'PreconditionFailed' || code === 'ConditionalRequestConflict') return new ObjectExists(cause.message);
  if (status === 507 || FULL.includes(code)) return fail.diskFull(cause);
  if (code === 'NotImplemented' || status === 501) return new NotImplemented(cause.message);
  if (code === 'RequestTimeTooSkewed')
    return unreachable('the clocks of this machine and of the store differ too much');
  if (status === 403 || status === 401) return refused();
  if (WRONG_REGION.includes(code) || status === 301)
    return unreachable(`the bucket is in another region (${code}): see ${names.region}`);
  if (NOT_TRUSTED.includes(code))
    return unreachable(
      `the store's certificate is not trusted (${code}): see ${names.endpoint}, and NODE_EXTRA_CA_CERTS for an authority of your own`,
    );
  if (code === 'EntityTooSmall') return unreachable('the store wants larger parts: see minimum_chunk_size_mb');
  return unreachable(`the store cannot be used now (${code}): if that stays so, see ${names.endpoint}`);
}

/** The store's code, or the system's, for example `NoSuchKey` or `ECONNREFUSED`. */
function codeOf(error: Error): { code: string; status: number | undefined } {
  const metadata: unknown = '$metadata' in error ? error.$metadata : undefined;
  const status =
    typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata
      ? Number(metadata.httpStatusCode) || undefined
      : undefined;
  const system = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  // Several addresses were tried in vain: they are all in there, and the first is as good as any.
  const inner = error instanceof AggregateError && error.errors[0] instanceof Error ? codeOf(error.errors[0]).code : '';
  return { code: (system ?? inner) || error.name, status };
}

/** A mistake in this program rather than anything that a store or a connection said. */
function isFault(error: Error): boolean {
  return !('$metadata' in error) && !('code' in error) && !NO_CREDENTIALS.includes(error.name);
}
