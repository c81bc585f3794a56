/** The span of each call that goes out: the one place for all clients. Those of calls that come in begin in handler.ts. */
import { InterceptingCall, type Interceptor, status } from '@grpc/grpc-js';
import { type Attributes, beginChild, isRecording } from '../telemetry/span.js';
import { setTraceParent } from './call.js';

/**
 * Makes a span of a call that is made where a recorded one is active, and has the other side go on with it. It ends with
 * the call's status, and so, of a stream, with its last message. Any other call passes untouched.
 */
export const traceCalls: Interceptor = (options, nextCall) => {
  // What it answers is an InterceptingCall, or as good as one; grpc-js's own types are at odds about it.
  const call = nextCall(options) as InterceptingCall;
  if (!isRecording()) return call;
  const { path } = options.method_definition;
  const span = beginChild(rpcName(path), 'client', rpcAttributes(path));
  if (!span) return call;
  return new InterceptingCall(call, {
    start(metadata, _listener, next) {
      const { parent } = span;
      if (parent) setTraceParent(metadata, parent);
      next(metadata, {
        onReceiveStatus(answer, pass) {
          span.set({ 'rpc.grpc.status_code': answer.code });
          if (answer.code !== status.OK) span.failed(status[answer.code] ?? 'UNKNOWN', answer.details);
          span.end();
          pass(answer);
        },
      });
    },
  });
};

/** `entrepot.storage.v1.Storage/ReadBlob` */
export function rpcName(path: string): string {
  return path.slice(1);
}

export function rpcAttributes(path: string): Attributes {
  const [, service = '', method = ''] = path.split('/');
  return { 'rpc.system': 'grpc', 'rpc.service': service, 'rpc.method': method };
}
