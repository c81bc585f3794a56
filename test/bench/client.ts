/**
 * The client of the benches. Clients share the machine's cores with what is measured, so this one does as little as it
 * can: bytes are sent from one buffer again and again, and what is received is counted and thrown away.
 */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { finished } from 'node:stream/promises';

const RECEIVED_AT_ONCE = 1 << 20;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** What is sent: these pieces, one after the other. */
export interface Body {
  readonly size: number;
  pieces(): Iterable<Buffer>;
}

export function bodyOf(bytes: Buffer): Body {
  return { size: bytes.length, pieces: () => [bytes] };
}

/** Requests on connections that are kept, for when it is their number that counts. Close it when done. */
export class Client {
  readonly #agent: Agent;
  readonly #port: number;

  constructor(port: number, connections: number) {
    this.#port = port;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** Sends a request and reads the answer to its end. Throws if its status is not the expected one. */
  async send(
    method: string,
    path: string,
    expected: number,
    options: { headers?: Record<string, string>; body?: Body; chunked?: boolean } = {},
  ): Promise<Answer> {
    const { headers = {}, body, chunked = false } = options;
    const length = chunked ? {} : { 'content-length': String(body?.size ?? 0) };
    const sent = request({
      method,
      path,
      port: this.#port,
      host: '127.0.0.1',
      agent: this.#agent,
      headers: { ...headers, ...length },
    });
    const answered = new Promise<Answer>((resolve, reject) => {
      sent.once('error', reject);
      sent.once('response', response => {
        const status = response.statusCode ?? 0;
        let text = '';
        response.on('data', (piece: Buffer) => {
          if (status >= 400) text += piece;
        });
        finished(response).then(() => {
          if (status === expected) resolve({ status, headers: response.headers });
          else reject(new Error(`${method} ${path}: ${status} instead of ${expected}: ${text}`));
        }, reject);
      });
    });
    for (const piece of body?.pieces() ?? []) {
      if (sent.write(piece) || sent.destroyed) continue;
      await Promise.race([new Promise(resolve => sent.once('drain', resolve)), answered]);
    }
    sent.end();
    return answered;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** GETs a path on a connection of its own, into one buffer that is written over and over; the size of the body. */
export function drain(port: number, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let head = '';
    let length = Number.NaN;
    let received = 0;
    const read = (count: number, buffer: Uint8Array): boolean => {
      received += count;
      if (Number.isNaN(length)) {
        head += Buffer.from(buffer.buffer, buffer.byteOffset, count).toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return true;
        length = Number(/^content-length: *(\d+)/im.exec(head)?.[1]);
        if (!head.startsWith('HTTP/1.1 200') || Number.isNaN(length)) {
          socket.destroy(new Error(`GET ${path}: ${head.slice(0, 1_000)}`));
          return false;
        }
        received -= end + 4;
      }
      if (received >= length) socket.end();
      return true;
    };
    const socket = connect({
      port,
      host: '127.0.0.1',
      onread: { buffer: Buffer.allocUnsafe(RECEIVED_AT_ONCE), callback: read },
    });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`);
    socket.once('error', reject);
    socket.once('close', () => {
      if (received === length) resolve(length);
      else reject(new Error(`GET ${path}: ${received} bytes of ${length} came`));
    });
  });
}
