/** What a gateway measures beside what every process does. */
import { Counter, Histogram } from 'prom-client';
import { DURATION_BUCKETS, ProcessMetrics } from './process-metrics.js';

/** A request that is over. */
export interface AnsweredRequest {
  readonly method: string;
  /** The kind of resource, for example `manifest`; `unknown` if the path led nowhere. */
  readonly route: string;
  /** The status that was answered; 499 if the client did not wait for it. */
  readonly status: number;
  readonly seconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Others are the client's own invention: a label must not grow with what clients send. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);

export class GatewayMetrics extends ProcessMetrics {
  readonly #requests = new Counter({
    name: 'entrepot_http_requests_total',
    help: 'Requests that are over',
    labelNames: ['method', 'route', 'status'] as const,
    registers: [this.registry],
  });
  readonly #durations = new Histogram({
    name: 'entrepot_http_request_duration_seconds',
    help: 'From the head of a request to the end of its answer, at the speed of its client',
    labelNames: ['method', 'route'] as const,
    buckets: DURATION_BUCKETS,
    registers: [this.registry],
  });
  readonly #bytes = new Counter({
    name: 'entrepot_http_bytes_total',
    help: 'Bytes of requests (in) and answers (out), their heads counted too',
    labelNames: ['route', 'direction'] as const,
    registers: [this.registry],
  });
  readonly #lookups = new Counter({
    name: 'entrepot_manifest_cache_lookups_total',
    help: "Lookups of a manifest's bytes, by what had them: memory, redis, or none",
    labelNames: ['found'] as const,
    registers: [this.registry],
  });

  /** A request is over. */
  request({ method, route, status, seconds, bytesIn, bytesOut }: AnsweredRequest): void {
    const known = METHODS.has(method) ? method : 'other';
    this.#requests.inc({ method: known, route, status: String(status) });
    this.#durations.observe({ method: known, route }, seconds);
    this.#bytes.inc({ route, direction: 'in' }, bytesIn);
    this.#bytes.inc({ route, direction: 'out' }, bytesOut);
  }

  /** A manifest's bytes were looked for. */
  lookup = (found: 'memory' | 'redis' | 'none'): void => this.#lookups.inc({ found });
}
