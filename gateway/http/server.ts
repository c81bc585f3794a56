/**
 * The HTTP server, with and without TLS: its limits, and its orderly end.
 *
 * Requests may last as long as bytes move (a layer of 20 GiB over a slow line takes hours), so there is no limit on a
 * request's time; what ends a connection is silence of the client, see idle.ts.
 */
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { cannotListen } from '../../lib/config/cannot-listen.js';
import type { Address } from '../../lib/config/config.js';
import type { Certificates, Loaded } from '../../lib/tls/certificates.js';
import { markWaitingForContinue } from './body.js';
import { answerClientErrors } from './client-errors.js';
import { Connections } from './connections.js';
import { endIdleConnections } from './idle.js';
import type { ProxyProtocol } from './proxy-protocol.js';
import { Turns } from './turns.js';

/** For the whole head of a request, from the connection's or the last answer's end. */
const HEADERS_TIMEOUT_MS = 30_000;

/** Silence of a client in the middle of a request. */
const IDLE_TIMEOUT_MS = 60_000;

/** Longer than common load balancers keep a connection (60 s): the side that reuses it should be the one that closes it. */
const KEEP_ALIVE_MS = 75_000;

/** Tokens with many scopes are large. */
const MAX_HEADER_BYTES = 32 * 1024;

/** For agreeing on TLS. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** For every connection. The first two notice a client whose machine is gone while we are the ones at work. */
const SOCKETS = { keepAlive: true, keepAliveInitialDelay: 30_000, noDelay: true } as const;

/** While ending: a connection that has rested for so long gets no further request, and is closed. */
const RESTING_MS = 2_000;
const LOOK_MS = 100;

export interface HttpServerOptions {
  readonly log: Logger;
  /** Where proxies pass connections on. */
  readonly proxyProtocol?: ProxyProtocol | undefined;
  /** For tests; in milliseconds. */
  readonly idleTimeoutMs?: number;
  readonly headersTimeoutMs?: number;
}

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #servers: Server[] = [];
  /** What listens: each server itself, or the one that reads what a proxy says first. */
  readonly #listeners: NetServer[] = [];
  readonly #log: Logger;
  /** Ends what was begun for the servers. */
  readonly #ends: (() => void)[] = [];
  #handler: RequestListener = (_req, res) => res.writeHead(503).end();
  readonly #connections = new Connections();
  #draining = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#log = options.log;
  }

  /** Whether the server is ending: new requests should go elsewhere. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Begins to serve; resolves to where it listens. Rejects, naming the address and the key, if it cannot. */
  listen(address: Address, handler: RequestListener): Promise<Address> {
    this.#handler = handler;
    const server = createServer(this.#limits());
    this.#connections.watch(server, 'connection');
    return this.#start(server, address, 'ENTREPOT_GATEWAY_LISTEN', true);
  }

  /** The same with TLS, beside it. Connections that exist live on when the certificate is replaced; new ones get the new one. */
  listenTls(address: Address, certificates: Certificates): Promise<Address> {
    const context = ({ cert, key }: Loaded) => ({ cert, key, minVersion: 'TLSv1.2' as const });
    const server = createTlsServer({
      ...this.#limits(),
      ...context(certificates.current),
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    const replace = (loaded: Loaded) => server.setSecureContext(context(loaded));
    certificates.subscribe(replace);
    this.#connections.watch(server, 'secureConnection');
    // Those that have not agreed on TLS yet are nobody's whom Node would close.
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    this.#ends.push(() => {
      certificates.unsubscribe(replace);
      for (const socket of sockets) socket.destroy();
    });
    return this.#start(server, address, 'ENTREPOT_GATEWAY_TLS_LISTEN', false);
  }

  #limits() {
    const headersTimeout = this.#options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS;
    return {
      requestTimeout: 0,
      headersTimeout,
      connectionsCheckingInterval: Math.min(5_000, headersTimeout),
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // Node's own answer would say nothing; see app.ts.
      requireHostHeader: false,
      ...SOCKETS,
    };
  }

  #start(server: Server, address: Address, key: string, allowHalfOpen: boolean): Promise<Address> {
    const { proxyProtocol } = this.#options;
    const listener = proxyProtocol?.listener(server, { ...SOCKETS, allowHalfOpen }) ?? server;
    // Node would pass over all headers after the first thousand, also one that a proxy has added to say whom it speaks for.
    // How many there can be is limited by their bytes.
    server.maxHeadersCount = 0;
    const idle = endIdleConnections(server, this.#options.idleTimeoutMs ?? IDLE_TIMEOUT_MS);
    answerClientErrors(server, idle.current);
    const turns = new Turns();
    const onRequest: RequestListener = (req, res) => {
      const before = idle.current(req.socket)?.res;
      idle.begin(req, res);
      this.#connections.begin(req.socket, res);
      proxyProtocol?.mark(req);
      if (this.#draining) sayFarewell(res);
      if (before) turns.after(before, req, () => this.#handler(req, res));
      else this.#handler(req, res);
    };
    server.on('request', onRequest);
    // An expectation that we do not know is passed over, as RFC 9110 allows; Node's own answer would say nothing.
    server.on('checkExpectation', onRequest);
    server.on('checkContinue', (req, res) => {
      markWaitingForContinue(req);
      onRequest(req, res);
    });
    return new Promise((resolve, reject) => {
      const onError = (error: Error) => reject(cannotListen(address, key, error));
      listener.once('error', onError);
      listener.listen({ host: address.host, port: address.port }, () => {
        listener.off('error', onError);
        listener.on('error', error => this.#log.error({ err: error }, 'the HTTP server failed'));
        this.#servers.push(server);
        this.#listeners.push(listener);
        resolve({ host: address.host, port: (listener.address() as AddressInfo).port });
      });
    });
  }

  /**
   * Ends in order. First a farewell of `farewellMs`: still serving, but every answer says `Connection: close`, and health
   * says no. Then nobody is let in any more, and requests in flight have the rest of `graceMs`; then they are cut.
   */
  async stop(graceMs: number, farewellMs = 0): Promise<void> {
    const deadline = performance.now() + graceMs;
    this.#draining = true;
    for (const answer of this.#connections.answers) sayFarewell(answer);
    // Of answers that have begun, and did not say that their connection will end.
    for (const server of this.#servers) server.keepAliveTimeout = RESTING_MS;
    await sleep(Math.min(farewellMs, graceMs));
    // http.Server's own close also cuts connections that were accepted just now and have not yet sent their request.
    const closed = this.#listeners.map(
      listener => new Promise<void>(resolve => NetServer.prototype.close.call(listener, () => resolve())),
    );
    const endResting = setInterval(() => this.#connections.endResting(RESTING_MS), LOOK_MS);
    const cut = setTimeout(() => this.#cut(), Math.max(0, deadline - performance.now()));
    await Promise.all(closed);
    clearInterval(endResting);
    clearTimeout(cut);
    for (const end of this.#ends) end();
  }

  #cut(): void {
    const requests = this.#connections.answers.length;
    if (requests > 0) this.#log.warn({ requests }, 'requests in flight are cut off: the time to finish is over');
    for (const server of this.#servers) server.closeAllConnections();
    this.#options.proxyProtocol?.close();
    for (const end of this.#ends) end();
  }
}

/** Has the client go elsewhere with its next request, if it can still be told. */
function sayFarewell(answer: ServerResponse): void {
  if (!answer.headersSent) answer.shouldKeepAlive = false;
}
