/**
 * Typed errors and gRPC statuses: the one place where one becomes the other.
 *
 * A status code alone is ambiguous, because grpc-js itself answers UNAVAILABLE, RESOURCE_EXHAUSTED and others. A
 * deliberate error therefore also has a reason, which crosses the wire in the trailer `entrepot-reason`; an error
 * without a reason came from the transport.
 */
import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';
import type { Status as StatusMessage } from '../../proto/generated/entrepot/storage/v1/Status.js';

/** The statuses that the contracts use, by name. */
export type StatusName = Exclude<keyof typeof status, 'OK'>;

/** Why a call failed, in one word; listed at the tops of storage.proto and admin.proto. */
const REASONS = [
  'BLOB_UNKNOWN',
  'UPLOAD_UNKNOWN',
  'OFFSET',
  'DIGEST_MISMATCH',
  'CORRUPT',
  'MALFORMED',
  'DISK_FULL',
  'BUSY',
  'TOO_LARGE',
  'STORE_UNREACHABLE',
  'WRONG_LOCATION',
  'DRAINING',
  'UNSUPPORTED',
  'FORBIDDEN',
  'LOCATION_UNKNOWN',
  'IMAGE_UNKNOWN',
  'NAMESPACE_UNKNOWN',
  'REPLICATION_OFF',
  'REFUSED',
  'BUSY_ELSEWHERE',
  'DATABASE_UNAVAILABLE',
] as const;
export type Reason = (typeof REASONS)[number];

const TRAILER = 'entrepot-reason';

/** A call that failed, on either side of the wire. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly status: StatusName;
  /** Undefined if the transport itself failed. */
  readonly reason: Reason | undefined;

  constructor(status: StatusName, reason: Reason | undefined, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
    this.reason = reason;
  }
}

/** The constructors of deliberate errors: one for each reason, so that a reason always has the same status. */
export const fail = {
  blobUnknown: (digest: string) => new StatusError('NOT_FOUND', 'BLOB_UNKNOWN', `blob ${digest} is not here`),
  uploadUnknown: (cause?: unknown) =>
    new StatusError('NOT_FOUND', 'UPLOAD_UNKNOWN', 'the upload is not here (any more)', { cause }),
  offset: (message: string) => new StatusError('OUT_OF_RANGE', 'OFFSET', message),
  digestMismatch: (wanted: string, found: string) =>
    new StatusError('FAILED_PRECONDITION', 'DIGEST_MISMATCH', `the uploaded bytes hash to ${found}, not to ${wanted}`),
  corrupt: (digest: string, detail: string) =>
    new StatusError('DATA_LOSS', 'CORRUPT', `the stored bytes of ${digest} are not what their key says: ${detail}`),
  malformed: (message: string) => new StatusError('INVALID_ARGUMENT', 'MALFORMED', message),
  diskFull: (cause?: unknown) =>
    new StatusError('RESOURCE_EXHAUSTED', 'DISK_FULL', 'the store has no space left', { cause }),
  busy: (message: string) => new StatusError('RESOURCE_EXHAUSTED', 'BUSY', message),
  tooLarge: (message: string) => new StatusError('RESOURCE_EXHAUSTED', 'TOO_LARGE', message),
  storeUnreachable: (message: string, cause?: unknown) =>
    new StatusError('UNAVAILABLE', 'STORE_UNREACHABLE', message, { cause }),
  wrongLocation: (message: string) => new StatusError('UNAVAILABLE', 'WRONG_LOCATION', message),
  draining: () => new StatusError('UNAVAILABLE', 'DRAINING', 'the node is shutting down'),
  unsupported: (message: string) => new StatusError('UNIMPLEMENTED', 'UNSUPPORTED', message),
  forbidden: (message: string) => new StatusError('PERMISSION_DENIED', 'FORBIDDEN', message),
  locationUnknown: (name: string) =>
    new StatusError(
      'NOT_FOUND',
      'LOCATION_UNKNOWN',
      `there is no location ${name}: ListLocations names those that there are, and so does 'entrepot status'`,
    ),
  imageUnknown: (message: string) => new StatusError('NOT_FOUND', 'IMAGE_UNKNOWN', message),
  namespaceUnknown: (name: string) =>
    new StatusError('NOT_FOUND', 'NAMESPACE_UNKNOWN', `there is no namespace ${name}`),
  replicationOff: () =>
    new StatusError(
      'FAILED_PRECONDITION',
      'REPLICATION_OFF',
      'Storage replication is not enabled: set FEATURE_STORAGE_REPLICATION to true',
    ),
  refused: (message: string) => new StatusError('FAILED_PRECONDITION', 'REFUSED', message),
  busyElsewhere: (message: string) => new StatusError('ABORTED', 'BUSY_ELSEWHERE', message),
  databaseUnavailable: (cause: unknown) =>
    new StatusError('UNAVAILABLE', 'DATABASE_UNAVAILABLE', 'the database cannot be reached now', { cause }),
  cancelled: () => new StatusError('CANCELLED', undefined, 'the call was cancelled'),
  deadline: (message: string) => new StatusError('DEADLINE_EXCEEDED', undefined, message),
} as const;

/** Whether `error` is a StatusError with one of these reasons. */
export function hasReason(error: unknown, ...reasons: Reason[]): error is StatusError {
  return error instanceof StatusError && error.reason !== undefined && reasons.includes(error.reason);
}

const TRANSIENT_REASONS: readonly Reason[] = [
  'DISK_FULL',
  'BUSY',
  'STORE_UNREACHABLE',
  'WRONG_LOCATION',
  'DRAINING',
  'DATABASE_UNAVAILABLE',
  // Not this request is refused, but all that this process asks of that node.
  'FORBIDDEN',
];
const TRANSPORT_STATUSES: readonly StatusName[] = [
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  'UNKNOWN',
  'RESOURCE_EXHAUSTED',
];

/** Whether asking another node, or the same one later, may help: the fault is the node's or the way's, not the request's. */
export function isTransient(error: unknown): error is StatusError {
  if (!(error instanceof StatusError)) return false;
  return error.reason ? TRANSIENT_REASONS.includes(error.reason) : TRANSPORT_STATUSES.includes(error.status);
}

/** What a handler threw, as grpc-js wants it. An unexpected error tells its text to the log only, never to the wire. */
export function toServiceError(error: unknown): StatusObject {
  const known = error instanceof StatusError ? error : new StatusError('INTERNAL', undefined, 'internal error');
  const metadata = new Metadata();
  if (known.reason) metadata.set(TRAILER, known.reason);
  return { code: status[known.status], details: known.message, metadata };
}

/** What a call failed with, as a StatusError. */
export function fromServiceError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (!isServiceError(error)) {
    return new StatusError('UNKNOWN', undefined, error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
  return new StatusError(statusName(error.code), asReason(error.metadata?.get(TRAILER)[0]), inWords(error.details));
}

/** What grpc-js says of a connection that could not be made is shortened to its cause: people read it, in logs and commands. */
function inWords(details: string): string {
  return /^No connection established\. Last error: (?:Error: )?(.+?)\.? Resolution note:/.exec(details)?.[1] ?? details;
}

/** The outcome of one item of a batch: `undefined` is success. */
export function toStatusMessage(error: StatusError | undefined): StatusMessage {
  if (!error) return { code: status.OK, reason: '', message: '' };
  return { code: status[error.status], reason: error.reason ?? '', message: error.message };
}

/** The other way round; undefined if the item succeeded. */
export function fromStatusMessage(message: StatusMessage | null | undefined): StatusError | undefined {
  if (!message) return new StatusError('UNKNOWN', undefined, 'the item has no status');
  if (!message.code) return undefined;
  return new StatusError(statusName(message.code), asReason(message.reason), message.message ?? '');
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' && 'details' in error;
}

function statusName(code: number): StatusName {
  const name = status[code] as StatusName | 'OK' | undefined;
  return name === undefined || name === 'OK' ? 'UNKNOWN' : name;
}

function asReason(value: unknown): Reason | undefined {
  return REASONS.find(reason => reason === value);
}
