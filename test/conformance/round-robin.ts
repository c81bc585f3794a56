/**
 * An HTTP front that hands each request to the next of several gateways, over a connection of its own, as a load
 * balancer without sticky sessions does: also the requests of one upload go to one gateway after the other.
 */
import { type ClientRequest, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { freePort } from '../support/ports.js';
import { atEnd } from '../support/suite.js';

export interface Front {
  /** Where it listens: `host:port`. */
  readonly host: string;
  /** How many requests each gateway got so far. */
  readonly served: readonly number[];
  /** Of each upload so far, by the path of its `Location`: the numbers of the gateways that its requests went to. */
  readonly uploads: ReadonlyMap<string, ReadonlySet<number>>;
}

/** Of this hop only (RFC 9110, "Connection"). */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'];

/** Starts a front before gateways (`host:port`); it ends with the suite. */
export async function startFront(gateways: readonly string[]): Promise<Front> {
  const served = gateways.map(() => 0);
  const uploads = new Map<string, Set<number>>();
  let next = 0;

  async function carry(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const number = next;
    next = (next + 1) % gateways.length;
    served[number] = (served[number] ?? 0) + 1;
    noteUpload(uploads, req.url ?? '', number);
    const [host, port] = (gateways[number] ?? '').split(':');
    const headers = endToEnd(req.headers);
    // The length of the body is kept; what has none is sent in chunks.
    const upstream = request({ host, port, method: req.method, path: req.url, headers, agent: false });
    upstream.once('continue', () => res.writeContinue());
    // A gateway may answer before it has read the body; what counts then is its answer.
    pipeline(req, upstream).catch(() => {});
    const answer = await answerOf(upstream);
    noteUpload(uploads, answer.headers.location ?? '', number);
    res.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers));
    await pipeline(answer, res);
  }

  const onRequest = (req: IncomingMessage, res: ServerResponse) =>
    carry(req, res).catch(() => {
      if (res.headersSent) res.destroy();
      else res.writeHead(502).end();
    });
  const server = createServer(onRequest).on('checkContinue', onRequest);
  const port = await freePort();
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
  atEnd(() => {
    server.closeAllConnections();
    return new Promise(resolve => server.close(resolve));
  });
  return { host: `127.0.0.1:${port}`, served, uploads };
}

function answerOf(upstream: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    upstream.once('response', resolve);
    upstream.once('error', reject);
  });
}

function endToEnd<Headers extends IncomingMessage['headers']>(headers: Headers): Headers {
  const kept = Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name));
  return Object.fromEntries(kept) as Headers;
}

function noteUpload(uploads: Map<string, Set<number>>, target: string, number: number): void {
  const path = /^[^?]*\/blobs\/uploads\/[^?/]+/.exec(target)?.[0];
  if (path === undefined) return;
  const known = uploads.get(path) ?? new Set();
  uploads.set(path, known.add(number));
}
