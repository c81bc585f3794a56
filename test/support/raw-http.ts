/** HTTP written by hand on a socket: for requests that node:http would refuse to send, or would mend. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class RawConnection {
  readonly socket: Socket;
  /** Resolves when the connection is closed, however that happens. */
  readonly closed: Promise<void>;
  #received = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', piece => {
      this.#received = Buffer.concat([this.#received, piece]);
    });
    socket.on('error', () => {});
    this.closed = new Promise(resolve => socket.once('close', () => resolve()));
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawConnection(socket);
  }

  /** Sends a request's head, line by line, with the empty line after it. */
  head(...lines: string[]): void {
    this.socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  }

  write(data: string | Buffer): Promise<void> {
    return new Promise(resolve => {
      this.socket.write(data, () => resolve());
    });
  }

  /** Takes the next answer (also an interim one, like 100) off the connection. Throws if it does not come. */
  async answer(timeoutMs = 20_000): Promise<RawAnswer> {
    const deadline = Date.now() + timeoutMs;
    while (Date.now() < deadline) {
      const answer = this.#parse();
      if (answer) return answer;
      if (this.socket.destroyed) break;
      await sleep(5);
    }
    throw new Error(`no answer; so far: ${JSON.stringify(this.#received.toString('latin1').slice(0, 500))}`);
  }

  /** What has arrived and is not taken. */
  get pending(): Buffer {
    return this.#received;
  }

  close(): void {
    this.socket.destroy();
  }

  #parse(): RawAnswer | undefined {
    const end = this.#received.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const [first = '', ...lines] = this.#received.subarray(0, end).toString('latin1').split('\r\n');
    const headers = Object.fromEntries(
      lines.map(line => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const from = end + 4;
    const length = Number(headers['content-length'] ?? 0);
    if (this.#received.length < from + length) return undefined;
    const body = this.#received.subarray(from, from + length).toString();
    this.#received = this.#received.subarray(from + length);
    return { status: Number(first.split(' ')[1]), headers, body };
  }
}

/** Sends one request with a path exactly as it is given, and takes its answer. */
export async function rawRequest(
  port: number,
  method: string,
  target: string,
  headers: Readonly<Record<string, string>> = {},
  body = '',
): Promise<RawAnswer> {
  const connection = await RawConnection.open(port);
  try {
    const length =
      body === '' && (method === 'GET' || method === 'DELETE') ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
    const extra = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    connection.head(`${method} ${target} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...length, ...extra);
    if (body) await connection.write(body);
    return await connection.answer();
  } finally {
    connection.close();
  }
}
