/**
 * Turns plain async functions into grpc-js handlers: errors are mapped in one place, and each handler gets an
 * AbortSignal that fires when its caller is gone (cancelled, past its deadline, or disconnected).
 */

import type { EventEmitter } from 'node:events';
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type ServerDuplexStream,
  type ServerWritableStream,
  status,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { AnsweredCall } from '../telemetry/process-metrics.js';
import { beginRoot, type Span } from '../telemetry/span.js';
import type { TraceParent } from '../telemetry/trace-id.js';
import { traceParentOf } from './call.js';
import { StatusError, toServiceError } from './errors.js';
import { messageWriter, readMessages } from './stream.js';
import { rpcAttributes, rpcName } from './traced-calls.js';
import { readAhead } from './window.js';

/** What a handler knows about its call beside the request. */
export interface HandlerContext {
  readonly signal: AbortSignal;
  readonly traceId: string | undefined;
  /** The other end of the connection, as `host:port`: calls with the same one come over the same connection. */
  readonly peer: string;
}

/** Sends one message of a response stream; resolves when there is room for the next. */
export type Send<Response> = (message: Response) => Promise<void>;

export interface HandlerOptions {
  /** Asked before each call; throws what the caller is told. */
  readonly admit?: (() => void) | undefined;
  /** Hears of each call that is over. */
  readonly onAnswered?: ((call: AnsweredCall) => void) | undefined;
}

/**
 * While more callers than this stream to us, fewer of each one's messages wait for its handler; the rest waits in the window.
 * (Not otherwise: with two messages instead of sixteen, a copy took several times as long on a crowded machine.)
 */
const FEW_STREAMS = 16;
const MESSAGES_AHEAD = 4;

/** The makers of handlers, for one server's logger. */
export function handlers(log: Logger, { admit = () => {}, onAnswered = () => {} }: HandlerOptions = {}) {
  /** How many callers stream to us now. */
  let streams = 0;
  /** Begins a call, in a span if its caller records one; `answered` is to be called when the call is over. */
  const begin = (call: { getPath(): string; metadata: Metadata }) => {
    const path = call.getPath();
    const started = performance.now();
    const parent = traceParentOf(call.metadata);
    const span = parent?.recorded ? beginServed(path, parent) : undefined;
    const answered = (error?: unknown) => {
      const status = error === undefined ? 'OK' : error instanceof StatusError ? error.status : 'INTERNAL';
      onAnswered({
        method: path.slice(path.lastIndexOf('/') + 1),
        status,
        seconds: (performance.now() - started) / 1_000,
      });
      if (span) endServed(span, status, error);
    };
    return { within: <T>(work: () => T): T => (span ? span.run(work) : work()), answered };
  };
  const report = (path: string, traceId: string | undefined, error: unknown) => {
    if (!(error instanceof StatusError)) return log.error({ path, traceId, err: error }, 'a call failed unexpectedly');
    const { status, reason, message, cause } = error;
    // The request's fault is its caller's business; the node's own is an operator's, who also needs to know why.
    const level = isOurs(error) ? 'warn' : 'debug';
    log[level]({ path, traceId, status, reason, err: cause }, message);
  };

  /** A call with one request and one response. */
  function unary<Request, Response>(
    handle: (request: Request, context: HandlerContext) => Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return (call, callback) => {
      const context = contextOf(call);
      const { within, answered } = begin(call);
      const admitted = async () => {
        admit();
        return handle(call.request, context);
      };
      within(admitted).then(
        response => {
          answered();
          callback(null, response);
        },
        error => {
          within(() => report(call.getPath(), context.traceId, error));
          answered(error);
          callback(toServiceError(error));
        },
      );
    };
  }

  /** A call with one request and a stream of responses. */
  function serverStream<Request, Response>(
    handle: (request: Request, send: Send<Response>, context: HandlerContext) => Promise<void>,
  ): handleServerStreamingCall<Request, Response> {
    return call => {
      const context = contextOf(call);
      void respond(call, context, send => handle(call.request, send, context));
    };
  }

  /** A call with a stream in each direction. */
  function bidi<Request, Response>(
    handle: (requests: AsyncIterable<Request>, send: Send<Response>, context: HandlerContext) => Promise<void>,
  ): handleBidiStreamingCall<Request, Response> {
    return call => {
      if (++streams > FEW_STREAMS) readAhead(call, MESSAGES_AHEAD);
      const context = contextOf(call);
      const run = (send: Send<Response>) => handle(readMessages<Request>(call, context.signal), send, context);
      void respond(call, context, run).finally(() => streams--);
    };
  }

  async function respond<Request, Response>(
    call: ServerWritableStream<Request, Response> | ServerDuplexStream<Request, Response>,
    context: HandlerContext,
    run: (send: Send<Response>) => Promise<void>,
  ): Promise<void> {
    const writer = messageWriter<Response>(call, context.signal);
    const { within, answered } = begin(call);
    try {
      admit();
      await within(() => run(writer.write));
      writer.end();
      answered();
    } catch (error) {
      within(() => report(call.getPath(), context.traceId, error));
      answered(error);
      call.emit('error', toServiceError(error));
    } finally {
      writer.release();
    }
  }

  return { unary, serverStream, bidi };
}

/** Whether the fault is this process's or its surroundings', and not the request's. */
function isOurs({ reason }: StatusError): boolean {
  return reason === 'STORE_UNREACHABLE' || reason === 'DISK_FULL' || reason === 'CORRUPT' || reason === 'BUSY';
}

function contextOf(call: EventEmitter & { metadata: Metadata; cancelled: boolean; getPeer(): string }): HandlerContext {
  const controller = new AbortController();
  call.once('cancelled', () => controller.abort());
  if (call.cancelled) controller.abort();
  return { signal: controller.signal, traceId: traceParentOf(call.metadata)?.traceId, peer: call.getPeer() };
}

function beginServed(path: string, parent: TraceParent): Span {
  return beginRoot({ name: rpcName(path), kind: 'server', attributes: rpcAttributes(path), parent });
}

function endServed(span: Span, name: keyof typeof status, error: unknown): void {
  span.set({ 'rpc.grpc.status_code': status[name] });
  if (error !== undefined) span.failed(name, error instanceof Error ? error.message : String(error));
  span.end();
}
