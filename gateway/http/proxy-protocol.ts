/**
 * Connections that a proxy passes on, with TLS untouched: it says by the PROXY protocol who opened each of them.
 *
 * A listener of its own takes the connections, reads the header off those that come from the proxies, and hands them on to
 * the HTTP server. From the proxies every connection must have one: what may be left out, a client could make up. From
 * anybody else a header is never read.
 */
import type { IncomingMessage, Server } from 'node:http';
import { createServer, type Server as NetServer, type ServerOpts, type Socket } from 'node:net';
import type { Logger } from 'pino';
import { Networks, plainAddress } from './networks.js';
import { parseProxyHeader } from './proxy-header.js';

/** A proxy sends it at once. */
const HEADER_TIMEOUT_MS = 5_000;

/** Requests that came by such a connection, with the client's address if the proxy knew it. */
const passedOn = new WeakMap<IncomingMessage, string | undefined>();

/** Whether a proxy passed the connection of a request on. */
export function isPassedOn(req: IncomingMessage): boolean {
  return passedOn.has(req);
}

/** Who opened a request's connection: the client, or a proxy that says nothing about it. */
export function peerOf(req: IncomingMessage): string {
  return passedOn.get(req) ?? plainAddress(req.socket.remoteAddress);
}

export class ProxyProtocol {
  readonly #proxies: Networks;
  readonly #log: Logger;
  /** By both ends of the connection, which a TLS socket has in common with the one below it. */
  readonly #clients = new Map<string, string | undefined>();
  readonly #waiting = new Set<Socket>();

  /** `proxies`: the addresses and networks from which connections are passed on. */
  constructor(proxies: readonly string[], log: Logger) {
    this.#proxies = new Networks(proxies);
    this.#log = log;
  }

  /** What is to listen in the server's place. */
  listener(server: Server, options: ServerOpts): NetServer {
    const listener = createServer(options, socket => {
      if (this.#proxies.has(plainAddress(socket.remoteAddress))) this.#readHeader(socket, server);
      else server.emit('connection', socket);
    });
    // This is when it begins to watch for heads that do not end.
    listener.once('listening', () => server.emit('listening'));
    return listener;
  }

  /** Call at the beginning of each request. */
  mark(req: IncomingMessage): void {
    const ends = endsOf(req.socket);
    if (this.#clients.has(ends)) passedOn.set(req, this.#clients.get(ends));
  }

  /** Ends the connections whose header has not come. */
  close(): void {
    for (const socket of this.#waiting) socket.destroy();
  }

  #readHeader(socket: Socket, server: Server): void {
    let received = Buffer.alloc(0);
    const onError = () => socket.destroy();
    const timer = setTimeout(onError, HEADER_TIMEOUT_MS);
    const settle = () => {
      clearTimeout(timer);
      this.#waiting.delete(socket);
      socket.off('readable', onReadable).off('error', onError).off('end', onError).off('close', settle);
    };
    const onReadable = () => {
      const piece: Buffer | null = socket.read();
      if (piece === null) return;
      received = Buffer.concat([received, piece]);
      const found = parseProxyHeader(received);
      if (found.kind === 'incomplete') return;
      settle();
      if (found.kind === 'wrong') {
        this.#log.warn({ proxy: socket.remoteAddress }, `a connection from a proxy is refused: ${found.reason}`);
        socket.destroy();
        return;
      }
      const ends = endsOf(socket);
      this.#clients.set(ends, found.source === undefined ? undefined : plainAddress(found.source));
      socket.once('close', () => this.#clients.delete(ends));
      if (received.length > found.length) socket.unshift(received.subarray(found.length));
      server.emit('connection', socket);
    };
    this.#waiting.add(socket);
    socket.on('readable', onReadable).on('error', onError).on('end', onError).on('close', settle);
  }
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
