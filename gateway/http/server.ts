/**
 * The HTTP server: its limits, and its orderly end.
 *
 * Requests may last as long as bytes move (a layer of 20 GiB over a slow line takes hours), so there is no limit on a
 * request's time; what ends a connection is silence of the client, see idle.ts.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, Server as NetServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Address } from '../../lib/config/config.js';
import { markWaitingForContinue } from './body.js';
import { answerClientErrors } from './client-errors.js';
import { endIdleConnections } from './idle.js';

/** For the whole head of a request, from the connection's or the last answer's end. */
const HEADERS_TIMEOUT_MS = 30_000;

/** Silence of a client in the middle of a request. */
const IDLE_TIMEOUT_MS = 60_000;

/** Longer than common load balancers keep a connection (60 s): the side that reuses it should be the one that closes it. */
const KEEP_ALIVE_MS = 75_000;

/** Tokens with many scopes are large. */
const MAX_HEADER_BYTES = 32 * 1024;

/** While draining: how long clients and load balancers have to learn that they should go elsewhere. */
const FAREWELL_MS = { most: 8_000, quiet: 2_000, step: 50 };

export interface HttpServerOptions {
  readonly log: Logger;
  /** For tests; in milliseconds. */
  readonly idleTimeoutMs?: number;
  readonly headersTimeoutMs?: number;
}

export class HttpServer {
  readonly #server: Server;
  readonly #log: Logger;
  #handler: RequestListener = (_req, res) => res.writeHead(503).end();
  #draining = false;
  #lastRequest = 0;

  constructor(options: HttpServerOptions) {
    this.#log = options.log;
    this.#server = createServer({
      requestTimeout: 0,
      headersTimeout: options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: Math.min(5_000, options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS),
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // Node's own answer would say nothing; see app.ts.
      requireHostHeader: false,
      // Notices a client whose machine is gone while we are the ones at work.
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      noDelay: true,
    });
    const idle = endIdleConnections(this.#server, options.idleTimeoutMs ?? IDLE_TIMEOUT_MS);
    answerClientErrors(this.#server, idle.current);
    const onRequest: RequestListener = (req, res) => {
      idle.begin(req, res);
      this.#lastRequest = Date.now();
      if (this.#draining) res.shouldKeepAlive = false;
      this.#handler(req, res);
    };
    this.#server.on('request', onRequest);
    // An expectation that we do not know is passed over, as RFC 9110 allows; Node's own answer would say nothing.
    this.#server.on('checkExpectation', onRequest);
    this.#server.on('checkContinue', (req, res) => {
      markWaitingForContinue(req);
      onRequest(req, res);
    });
  }

  /** Whether the server is ending: new requests should go elsewhere. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Begins to serve; resolves to where it listens. Rejects, naming the address, if it cannot. */
  listen(address: Address, handler: RequestListener): Promise<Address> {
    this.#handler = handler;
    return new Promise((resolve, reject) => {
      const onError = (error: Error) =>
        reject(new Error(`cannot listen on ${address.host}:${address.port}: ${error.message}`, { cause: error }));
      this.#server.once('error', onError);
      this.#server.listen({ host: address.host, port: address.port }, () => {
        this.#server.off('error', onError);
        this.#server.on('error', error => this.#log.error({ err: error }, 'the HTTP server failed'));
        resolve({ host: address.host, port: (this.#server.address() as AddressInfo).port });
      });
    });
  }

  /**
   * Ends in order. First a farewell: still serving, but every answer says `Connection: close`, and health says no, until
   * no request has come for a while. Then nobody is let in any more, and requests in flight have the rest of
   * `graceMs`; then they are cut.
   */
  async stop(graceMs: number): Promise<void> {
    const deadline = Date.now() + graceMs;
    this.#draining = true;
    // Of answers that began before, which did not say that their connection will end.
    this.#server.keepAliveTimeout = FAREWELL_MS.quiet;
    await this.#farewell(Math.min(FAREWELL_MS.most, graceMs / 2));
    // http.Server's own close also cuts connections that were accepted just now and have not yet sent their request.
    const closed = new Promise<void>(resolve => NetServer.prototype.close.call(this.#server, () => resolve()));
    const closeIdle = setInterval(() => this.#server.closeIdleConnections(), FAREWELL_MS.quiet);
    const cut = setTimeout(
      () => {
        this.#log.warn('requests in flight are cut off: the time to finish is over');
        this.#server.closeAllConnections();
      },
      Math.max(0, deadline - Date.now()),
    );
    await closed;
    clearInterval(closeIdle);
    clearTimeout(cut);
  }

  async #farewell(mostMs: number): Promise<void> {
    const began = Date.now();
    const isOver = () => {
      const now = Date.now();
      return now - began >= mostMs || now - Math.max(began, this.#lastRequest) >= FAREWELL_MS.quiet;
    };
    while (!isOver()) await sleep(FAREWELL_MS.step);
  }
}
