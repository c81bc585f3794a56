/** Serves a process's metrics over HTTP, at /metrics, for a Prometheus to fetch. A listener of its own, for nothing else. */
import { createServer, type Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { collectDefaultMetrics } from 'prom-client';
import { cannotListen } from '../config/cannot-listen.js';
import type { ProcessMetrics } from './process-metrics.js';

/** What has to be asked for is left out of an answer that would otherwise take longer than this. */
const PATIENCE_MS = 3_000;

export interface MetricsListenerOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly metrics: ProcessMetrics;
  /** Brings up to date what is not counted as it happens. */
  readonly refresh: () => Promise<void>;
  readonly log: Logger;
}

export class MetricsListener {
  readonly #server: Server;
  readonly #options: MetricsListenerOptions;

  /** Rejects, naming the key, if it cannot listen there. */
  static async start(options: MetricsListenerOptions): Promise<MetricsListener> {
    const listener = new MetricsListener(options);
    await listener.#listen();
    // Memory, event loop, garbage collection: measured only where somebody looks.
    collectDefaultMetrics({ register: options.metrics.registry });
    options.log.info({ listen: `${options.listen.host}:${listener.port}` }, 'metrics are served');
    return listener;
  }

  private constructor(options: MetricsListenerOptions) {
    this.#options = options;
    this.#server = createServer({ requestTimeout: 10_000 }, (request, response) => {
      const found = request.method === 'GET' && request.url?.split('?')[0] === '/metrics';
      if (!found) {
        response.writeHead(404, { 'content-type': 'text/plain' }).end('only GET /metrics is here\n');
        return;
      }
      void this.#answer().then(
        text => response.writeHead(200, { 'content-type': options.metrics.registry.contentType }).end(text),
        error => {
          options.log.warn({ err: error }, 'the metrics could not be written');
          response.writeHead(500).end();
        },
      );
    });
  }

  /** Where it listens; tells the port when it was asked for port 0. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : this.#options.listen.port;
  }

  async close(): Promise<void> {
    await new Promise<void>(resolve => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options.listen;
    return new Promise((resolve, reject) => {
      this.#server.once('error', error => {
        reject(cannotListen(this.#options.listen, 'ENTREPOT_METRICS_LISTEN', error));
      });
      this.#server.listen({ host, port }, resolve);
    });
  }

  async #answer(): Promise<string> {
    const { metrics, refresh, log } = this.#options;
    const late = new AbortController();
    try {
      await Promise.race([refresh(), sleep(PATIENCE_MS, undefined, { signal: late.signal })]);
    } catch (error) {
      log.debug({ err: error }, 'metrics are incomplete');
    } finally {
      late.abort();
    }
    return metrics.registry.metrics();
  }
}
