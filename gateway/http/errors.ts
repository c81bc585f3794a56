/**
 * The errors that clients see: one constructor for each code of the OCI distribution specification ("Error Codes"),
 * and for the HTTP statuses that have no code of their own. Any error that is answered with a 4xx carries one of the
 * specification's codes; UNAVAILABLE and UNKNOWN stand only beside 5xx.
 * docs/api.md explains each to those who meet it.
 */
import type { Digest } from '../../lib/oci/digest.js';
import type { RepositoryName } from '../../lib/oci/name.js';

export const ERROR_CODES = [
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'UNAUTHORIZED',
  'DENIED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
  'UNAVAILABLE',
  'UNKNOWN',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

type Headers = Readonly<Record<string, string>>;

/** An error with the answer that it becomes. */
export class OciError extends Error {
  override readonly name = 'OciError';
  readonly status: number;
  readonly code: ErrorCode;
  readonly headers: Headers;
  /** More for programs; anything that JSON can hold. */
  readonly detail: unknown;

  constructor(
    status: number,
    code: ErrorCode,
    message: string,
    more: { headers?: Headers; detail?: unknown; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.status = status;
    this.code = code;
    this.headers = more.headers ?? {};
    this.detail = more.detail;
  }

  /** The body of the answer. */
  toJson(): string {
    const { code, message, detail } = this;
    return JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] });
  }
}

/** How long a client should wait before it tries again what could not be served now, in seconds. */
const RETRY_AFTER_S = { unavailable: 5, overloaded: 2, busyUpload: 1 };

const retryAfter = (seconds: number) => ({ 'Retry-After': String(seconds) });

const because = (reason: string) => (reason === '' ? '' : `: ${reason}`);

/** What a client sent, cut so that an answer stays small. */
const quote = (text: string) => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);

/** The first of a list that may be long; `detail` has all of it. */
const someOf = (texts: readonly string[]) =>
  texts.slice(0, 5).join(', ') + (texts.length > 5 ? `, and ${texts.length - 5} others` : '');

export const oci = {
  blobUnknown: (digest: Digest) =>
    new OciError(404, 'BLOB_UNKNOWN', `blob ${digest} is not in this repository`, { detail: { digest } }),
  uploadUnknown: () =>
    new OciError(404, 'BLOB_UPLOAD_UNKNOWN', 'the upload does not exist: it was finished, cancelled or timed out'),
  /** Another request writes to the upload now. */
  uploadBusy: () =>
    new OciError(409, 'BLOB_UPLOAD_INVALID', 'another request is writing to this upload', {
      headers: retryAfter(RETRY_AFTER_S.busyUpload),
    }),
  /** The request wrote to the upload, but what it wrote does not count any more. */
  uploadTakenOver: () =>
    new OciError(409, 'BLOB_UPLOAD_INVALID', 'the upload was cancelled, or another request has gone on with it'),
  /** Its bytes must not stay where they are. */
  uploadMisplaced: () =>
    new OciError(
      404,
      'BLOB_UPLOAD_UNKNOWN',
      'the upload was ended: this namespace has come to be kept in other locations since it began; push the blob again',
    ),
  /** A chunk that does not begin where the upload ends; `headers` say where that is. */
  uploadRange: (message: string, headers: Headers) => new OciError(416, 'BLOB_UPLOAD_INVALID', message, { headers }),
  digestMalformed: (text: string) =>
    new OciError(
      400,
      'DIGEST_INVALID',
      `${quote(text)} is not a digest: it must be sha256:<64 hex digits> or sha512:<128 hex digits>, in lower case`,
    ),
  digestMissing: () =>
    new OciError(400, 'DIGEST_INVALID', 'the query must name the digest of the blob: ?digest=sha256:…'),
  digestMismatch: (message: string) => new OciError(400, 'DIGEST_INVALID', message),
  algorithmUnsupported: (name: string) =>
    new OciError(400, 'DIGEST_INVALID', `digest-algorithm ${quote(name)} is not supported: use sha256 or sha512`),
  manifestBlobUnknown: (digests: readonly Digest[]) =>
    new OciError(404, 'MANIFEST_BLOB_UNKNOWN', `the manifest needs what this repository lacks: ${someOf(digests)}`, {
      detail: { digests },
    }),
  manifestInvalid: (message: string) => new OciError(400, 'MANIFEST_INVALID', message),
  manifestUnknown: (reference: string) =>
    new OciError(404, 'MANIFEST_UNKNOWN', `manifest ${reference} is not in this repository`, { detail: { reference } }),
  tagMalformed: (text: string) =>
    new OciError(
      400,
      'MANIFEST_INVALID',
      `${quote(text)} is not a tag: 1 to 128 letters, digits, '_', '.' or '-', not beginning with '.' or '-'`,
    ),
  nameInvalid: (text: string) =>
    new OciError(
      400,
      'NAME_INVALID',
      `${quote(text)} is not a repository name: lower-case letters and digits, separated by '.', '_', '-' or '/', at most 255`,
    ),
  nameUnknown: (repository: RepositoryName) =>
    new OciError(404, 'NAME_UNKNOWN', `repository ${repository} does not exist`, { detail: { name: repository } }),
  sizeInvalid: (message: string) => new OciError(400, 'SIZE_INVALID', message),
  tooLarge: (message: string) => new OciError(413, 'SIZE_INVALID', message),
  /** A `Range` of a pull of which no byte exists. */
  rangeUnsatisfiable: (size: number) =>
    new OciError(416, 'SIZE_INVALID', `the range is outside of the blob's ${size} bytes`, {
      headers: { 'Content-Range': `bytes */${size}` },
    }),
  /** `challenge`: how to be let in. */
  unauthorized: (challenge: string, message = 'authentication required') =>
    new OciError(401, 'UNAUTHORIZED', message, { headers: { 'WWW-Authenticate': challenge } }),
  denied: (message: string) => new OciError(403, 'DENIED', message),
  /** Too many sign-ins have failed. */
  signInLimited: (waitMs: number) =>
    new OciError(429, 'TOOMANYREQUESTS', 'too many failed sign-ins: wait before the next one', {
      headers: retryAfter(Math.ceil(waitMs / 1_000)),
    }),
  /**
   * The registry takes no changes now. 405, as Quay answers it: to all clients an end of the push, which none of them
   * repeats, with the message shown to the user.
   */
  readOnly: (reason: string) =>
    new OciError(405, 'DENIED', `the registry is read-only now${because(reason)}`, {
      headers: { Allow: 'GET, HEAD' },
      detail: { is_readonly: true },
    }),
  pushesDisabled: (reason: string) =>
    new OciError(405, 'DENIED', `the registry takes no pushes now${because(reason)}`, {
      headers: { Allow: 'GET, HEAD, DELETE' },
      detail: { pushes_disabled: true },
    }),
  methodUnsupported: (method: string, allow: readonly string[]) =>
    new OciError(405, 'UNSUPPORTED', `${method} is not supported here`, { headers: { Allow: allow.join(', ') } }),
  routeUnknown: () => new OciError(404, 'UNSUPPORTED', 'there is nothing at this path'),
  tooManyTags: (limit: number) =>
    new OciError(414, 'SIZE_INVALID', `one push may set ${limit} tags at most: send the others with a second one`),
  parameterInvalid: (message: string) => new OciError(400, 'UNSUPPORTED', message),
  headTooLarge: () =>
    new OciError(431, 'SIZE_INVALID', 'the head of the request is too large: send fewer or smaller headers'),
  headTooSlow: () => new OciError(408, 'UNSUPPORTED', 'the head of the request did not arrive in time'),
  hostNotOne: () => new OciError(400, 'UNSUPPORTED', 'the request must have one Host header, as HTTP/1.1 demands'),
  notHttp: () => new OciError(400, 'UNSUPPORTED', 'the request is not HTTP/1.1 as RFC 9112 writes it'),
  tooManyRequests: (message: string, cause?: unknown) =>
    new OciError(429, 'TOOMANYREQUESTS', message, { headers: retryAfter(RETRY_AFTER_S.overloaded), cause }),
  unavailable: (message: string, cause?: unknown) =>
    new OciError(503, 'UNAVAILABLE', message, { headers: retryAfter(RETRY_AFTER_S.unavailable), cause }),
  /** Fewer locations than the write quorum hold these blobs. */
  shortOfQuorum: (message: string, blobs: readonly { digest: Digest; lacking: readonly string[] }[]) =>
    new OciError(503, 'UNAVAILABLE', message, {
      headers: retryAfter(RETRY_AFTER_S.unavailable),
      detail: { blobs },
    }),
  /** Our own fault; what exactly stands in the log only. */
  unexpected: (cause: unknown) => new OciError(500, 'UNKNOWN', 'internal error', { cause }),
} as const;
