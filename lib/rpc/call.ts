/** The client side of unary calls, and what every call carries: a deadline, a cancellation, its priority and the request's trace id. */
import { type CallOptions, type ClientUnaryCall, Metadata, type requestCallback } from '@grpc/grpc-js';
import { formatTraceParent, parseTraceParent, type TraceParent, unrecorded } from '../telemetry/trace-id.js';
import { callMade, cancelCall } from './cancel.js';
import { fail, fromServiceError } from './errors.js';

/** What a caller may say about a call. */
export interface CallContext {
  /** Ends the call when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** 32 hex digits that tie together everything done for one request, over all processes. */
  readonly traceId?: string | undefined;
  /** An administrator's token (`ENTREPOT_ADMIN_TOKEN`). */
  readonly token?: string | undefined;
}

/** How long a unary call may take when its caller says nothing else, in milliseconds. */
const DEFAULT_DEADLINE_MS = 15_000;

/**
 * A method of a generated client. Of its overloads this is the last, the one that TypeScript infers types from; it is
 * called by the longest.
 */
export type UnaryMethod<Request, Response> = (request: Request, callback: requestCallback<Response>) => ClientUnaryCall;
type FullUnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: CallOptions,
  callback: requestCallback<Response>,
) => ClientUnaryCall;

/**
 * Makes a unary call. Throws a StatusError: DEADLINE_EXCEEDED after `deadlineMs` (`Infinity` for none), CANCELLED when
 * the signal aborts, otherwise what the server answered.
 */
export function callUnary<Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  context: CallContext = {},
  deadlineMs = DEFAULT_DEADLINE_MS,
): Promise<Response> {
  const { signal } = context;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(fail.cancelled());
    const options: CallOptions = deadlineMs === Number.POSITIVE_INFINITY ? {} : { deadline: Date.now() + deadlineMs };
    const cancel = () => cancelCall(call);
    const call = (method as unknown as FullUnaryMethod<Request, Response>)(
      request,
      callMetadata(context),
      options,
      (error, response) => {
        signal?.removeEventListener('abort', cancel);
        if (error) reject(fromServiceError(error));
        else if (response === undefined) reject(fail.unsupported('the server answered nothing'));
        else resolve(response);
      },
    );
    callMade(call);
    signal?.addEventListener('abort', cancel);
  });
}

const TRACEPARENT = 'traceparent';

/**
 * Asks the server to let the streams of a connection take turns (RFC 9218: the usual urgency, incremental). Otherwise
 * Node.js 22 and 24, whose nghttp2 (since 1.65) goes by that RFC alone, send all that the window of the oldest stream takes
 * before anything of the next one: a hundred reads over one connection began five times as late as upon Node.js 20, with
 * four times the memory at the reader. A server upon Node.js 20 ignores it, as its streams take turns anyway.
 */
const TAKE_TURNS = ['priority', 'u=3, i'] as const;

/**
 * The metadata of a call: that it takes turns with others, and the trace id, in the form of W3C Trace Context. Where the
 * trace is recorded, its span takes the place of this id (traced-calls.ts).
 */
export function callMetadata(context: CallContext): Metadata {
  const metadata = new Metadata();
  metadata.set(...TAKE_TURNS);
  if (context.traceId) setTraceParent(metadata, unrecorded(context.traceId));
  if (context.token) metadata.set('authorization', `Bearer ${context.token}`);
  return metadata;
}

/** Says what a call belongs to. */
export function setTraceParent(metadata: Metadata, parent: TraceParent): void {
  metadata.set(TRACEPARENT, formatTraceParent(parent));
}

/** What a call that came belongs to, if it says so in a valid form. */
export function traceParentOf(metadata: Metadata): TraceParent | undefined {
  const value = metadata.get(TRACEPARENT)[0];
  return typeof value === 'string' ? parseTraceParent(value) : undefined;
}
