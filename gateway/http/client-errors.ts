/** Answers to what is not even HTTP: bad request lines, bad or too large headers, headers that never end. */
import type { Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ErrorCode, OciError } from './errors.js';
import type { Exchange } from './idle.js';

/** How long the answer may take to reach the client before the connection is cut. */
const LINGER_MS = 1_000;

export function answerClientErrors(server: Server, current: (socket: Duplex) => Exchange | undefined): void {
  const answered = new WeakSet<Duplex>();
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // A parser that failed once fails again at each further piece of data.
    if (answered.has(socket)) return;
    answered.add(socket);
    if (error.code === 'ECONNRESET' || !socket.writable || current(socket)?.res.headersSent) {
      socket.destroy();
      return;
    }
    socket.end(rawAnswer(error.code));
    socket.on('error', () => socket.destroy());
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
  });
}

function rawAnswer(code: string | undefined): string {
  const [status, reason, ociCode, message] = describe(code);
  const body = new OciError(status, ociCode, message).toJson();
  return [
    `HTTP/1.1 ${status} ${reason}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

function describe(code: string | undefined): [number, string, ErrorCode, string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'Request Header Fields Too Large', 'SIZE_INVALID', 'the head of the request is too large'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, 'Request Timeout', 'UNSUPPORTED', 'the head of the request did not arrive in time'];
    default:
      return [400, 'Bad Request', 'UNSUPPORTED', 'the request is not HTTP/1.1 as RFC 9112 writes it'];
  }
}
