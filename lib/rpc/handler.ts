/**
 * Turns plain async functions into grpc-js handlers: errors are mapped in one place, and each handler gets an
 * AbortSignal that fires when its caller is gone (cancelled, past its deadline, or disconnected).
 */

import type { EventEmitter } from 'node:events';
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  ServerDuplexStream,
  ServerWritableStream,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { AnsweredCall } from '../telemetry/process-metrics.js';
import { traceIdOf } from './call.js';
import { StatusError, toServiceError } from './errors.js';
import { messageWriter, readMessages } from './stream.js';
import { readAhead } from './window.js';

/** What a handler knows about its call beside the request. */
export interface HandlerContext {
  readonly signal: AbortSignal;
  readonly traceId: string | undefined;
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
  /** To be called when a call is over. */
  const begin = (path: string) => {
    const started = performance.now();
    return (error?: unknown) => {
      const status = error === undefined ? 'OK' : error instanceof StatusError ? error.status : 'INTERNAL';
      onAnswered({
        method: path.slice(path.lastIndexOf('/') + 1),
        status,
        seconds: (performance.now() - started) / 1_000,
      });
    };
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
      const answered = begin(call.getPath());
      const admitted = async () => {
        admit();
        return handle(call.request, context);
      };
      admitted().then(
        response => {
          answered();
          callback(null, response);
        },
        error => {
          answered(error);
          report(call.getPath(), context.traceId, error);
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
    const answered = begin(call.getPath());
    try {
      admit();
      await run(writer.write);
      writer.end();
      answered();
    } catch (error) {
      answered(error);
      report(call.getPath(), context.traceId, error);
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

function contextOf(call: EventEmitter & { metadata: Metadata; cancelled: boolean }): HandlerContext {
  const controller = new AbortController();
  call.once('cancelled', () => controller.abort());
  if (call.cancelled) controller.abort();
  return { signal: controller.signal, traceId: traceIdOf(call.metadata) };
}
