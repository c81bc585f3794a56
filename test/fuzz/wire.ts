/**
 * One request, written by hand on a connection of its own, so that it may be wrong in every way that HTTP knows; and
 * all that comes back, until the server has closed the connection.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How a request says where its body ends. */
export type Framing =
  /** Nothing is said, and nothing sent. */
  | { readonly kind: 'none' }
  /** `Content-Length`, which may be wrong by some bytes; where it promises more than comes, the client goes away. */
  | { readonly kind: 'length'; readonly off: number }
  /** Chunks of so many bytes (more, where there would be too many); `broken` is sent in place of the last one. */
  | { readonly kind: 'chunked'; readonly size: number; readonly broken: string | undefined }
  /** These header lines, and the body as it is. */
  | { readonly kind: 'lines'; readonly lines: readonly string[] };

/** A request as it is sent. Texts are latin1: each character is a byte. */
export interface WireRequest {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly framing: Framing;
  readonly body: Buffer;
  /** The client goes away after so many bytes of the body. */
  readonly leaveAfter?: number | undefined;
  /** The client sends another, plain request on the same connection, without waiting. */
  readonly followed?: boolean;
}

export interface WireAnswer {
  readonly status: number;
  /** Names in lower case; of several of a name, the last one. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface Outcome {
  /** The client went away before it had sent all that it promised: it need not get an answer. */
  readonly left: boolean;
  /** Without interim ones (1xx). */
  readonly answers: readonly WireAnswer[];
  /** What came after the last whole answer: a part of one that was cut. */
  readonly rest: Buffer;
}

type Received = Omit<Outcome, 'left'>;

/** The server was silent for so long, or did not close a connection that its client has ended. */
class Hang extends Error {
  override readonly name = 'Hang';
}

/** More than any answer should take, on a crowded machine too. */
const ANSWER_MS = 20_000;

const MOST_CHUNKS = 3_000;

/** Sends a request; resolves when the connection is closed. Throws Hang if that takes too long. */
export async function send(port: number, request: WireRequest): Promise<Outcome> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  const received: Buffer[] = [];
  let wake: () => void = () => {};
  let closed = false;
  socket.on('data', (piece: Buffer) => {
    received.push(piece);
    wake();
  });
  socket.on('error', () => {});
  for (const event of ['end', 'close'] as const) {
    socket.on(event, () => {
      closed = true;
      wake();
    });
  }
  const all = () => {
    const whole = Buffer.concat(received);
    received.splice(0, received.length, whole);
    return readAnswers(whole, request.method);
  };
  const deadline = Date.now() + ANSWER_MS;
  /** Waits until `enough` holds of what has come, or the server has closed. */
  const wait = async (enough: (received: Received) => boolean, what: string): Promise<Received> => {
    while (true) {
      const outcome = all();
      if (closed || enough(outcome)) return outcome;
      const left = deadline - Date.now();
      if (left <= 0) throw new Hang(`${what}; so far: ${JSON.stringify(received.join('').slice(0, 300))}`);
      await Promise.race([
        new Promise<void>(resolve => {
          wake = resolve;
        }),
        sleep(left, undefined, { ref: false }),
      ]);
    }
  };
  try {
    const left = write(socket, request);
    const expected = request.followed ? 2 : 1;
    if (!left) await wait(({ answers }) => answers.length >= expected, 'no answer');
    socket.end();
    return { left, ...(await wait(() => false, 'the server does not close the connection')) };
  } finally {
    socket.destroy();
  }
}

/** Writes all of a request that is sent; true if it is less than the server must wait for. */
function write(socket: Socket, request: WireRequest): boolean {
  const { framing, leaveAfter } = request;
  const lines = [
    `${request.method} ${request.target} ${request.version}`,
    ...request.headers.map(([name, value]) => `${name}: ${value}`),
    ...framingLines(framing, request.body),
    '',
    '',
  ];
  const body = framedBody(framing, request.body);
  const cut = leaveAfter !== undefined && leaveAfter < body.length;
  socket.write(Buffer.concat([Buffer.from(lines.join('\r\n'), 'latin1'), cut ? body.subarray(0, leaveAfter) : body]));
  // Of what is promised by odd lines nobody can say whether it is there.
  const left = cut || (framing.kind === 'length' ? framing.off > 0 : !isSound(framing));
  if (request.followed && !left) socket.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n');
  return left;
}

/** Whether a body ends where its framing says. */
export function isSound(framing: Framing): boolean {
  switch (framing.kind) {
    case 'none':
      return true;
    case 'length':
      return framing.off === 0;
    case 'chunked':
      return framing.broken === undefined;
    default:
      return false;
  }
}

function framingLines(framing: Framing, body: Buffer): readonly string[] {
  switch (framing.kind) {
    case 'none':
      return [];
    case 'length':
      return [`Content-Length: ${Math.max(0, body.length + framing.off)}`];
    case 'chunked':
      return ['Transfer-Encoding: chunked'];
    default:
      return framing.lines;
  }
}

function framedBody(framing: Framing, body: Buffer): Buffer {
  if (framing.kind === 'none') return Buffer.alloc(0);
  if (framing.kind !== 'chunked') return body;
  const pieces: Buffer[] = [];
  const size = Math.max(framing.size, Math.ceil(body.length / MOST_CHUNKS));
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size);
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
  }
  pieces.push(Buffer.from(framing.broken ?? '0\r\n\r\n', 'latin1'));
  return Buffer.concat(pieces);
}

/** Reads what a server has sent. The first answer is to `method`; more come only if a request was taken for several. */
function readAnswers(bytes: Buffer, method: string): Received {
  const answers: WireAnswer[] = [];
  let rest = bytes;
  while (true) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return { answers, rest };
    const [first = '', ...lines] = rest.subarray(0, end).toString('latin1').split('\r\n');
    const status = Number(/^HTTP\/1\.1 ([1-5]\d\d)(?: |$)/.exec(first)?.[1]);
    if (Number.isNaN(status)) throw new Error(`not an answer: ${JSON.stringify(first.slice(0, 200))}`);
    const headers = Object.fromEntries(
      lines.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    const isEmpty = status < 200 || status === 204 || status === 304 || (method === 'HEAD' && answers.length === 0);
    const length = isEmpty ? 0 : Number(headers['content-length'] ?? Number.NaN);
    if (Number.isNaN(length)) throw new Error(`an answer without Content-Length: ${first} ${JSON.stringify(headers)}`);
    if (rest.length < end + 4 + length) return { answers, rest };
    if (status >= 200) answers.push({ status, headers, body: rest.subarray(end + 4, end + 4 + length) });
    rest = rest.subarray(end + 4 + length);
  }
}
