/** Answers to what is not even HTTP: bad request lines, bad or too large headers, headers that never end; and to what would make a tunnel of it. */
import { type Server, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { type OciError, oci } from './errors.js';
import type { Exchange } from './idle.js';

/** How long the answer may take to reach the client before the connection is cut. */
const LINGER_MS = 1_000;

export function answerClientErrors(server: Server, current: (socket: Duplex) => Exchange | undefined): void {
  const answered = new WeakSet<Duplex>();
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // A parser that failed once fails again at each further piece of data.
    if (answered.has(socket)) return;
    answered.add(socket);
    if (error.code === 'ECONNRESET' || isOfTls(error.code) || !socket.writable || current(socket)?.res.headersSent) {
      socket.destroy();
      return;
    }
    answerLast(socket, errorFor(error.code));
  });
  // Node would close the connection without a word.
  server.on('connect', (_req, socket) => answerLast(socket, oci.methodUnsupported('CONNECT', ['GET', 'HEAD'])));
}

function answerLast(socket: Duplex, error: OciError): void {
  socket.end(rawAnswer(error));
  socket.on('error', () => socket.destroy());
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** Whether there is no connection to answer on: TLS was not agreed on, or broke. */
function isOfTls(code = ''): boolean {
  return code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_');
}

function rawAnswer(error: OciError): string {
  const body = error.toJson();
  return [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...Object.entries(error.headers).map(([name, value]) => `${name}: ${value}`),
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

function errorFor(code: string | undefined): OciError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return oci.headTooLarge();
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return oci.headTooSlow();
    default:
      return oci.notHttp();
  }
}
