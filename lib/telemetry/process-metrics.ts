/** What every process measures. The metrics of each kind of process are beside it; all are described in docs/metrics.md. */
import { Gauge, Histogram, Registry } from 'prom-client';

/** From what a cache answers to a transfer of minutes, in seconds. */
export const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** A call that was answered over gRPC. */
export interface AnsweredCall {
  /** The name of the method, for example `ReadBlob`. */
  readonly method: string;
  /** `OK`, or the name of the status that it failed with. */
  readonly status: string;
  readonly seconds: number;
}

/** The connections of a pool. */
export interface PoolState {
  /** At work. */
  readonly busy: number;
  readonly idle: number;
  /** Statements that wait for a connection. */
  readonly waiting: number;
}

export class ProcessMetrics {
  readonly registry = new Registry();

  readonly #calls = new Histogram({
    name: 'entrepot_rpc_duration_seconds',
    help: 'How long the gRPC calls took that this process answered; a stream is one call',
    labelNames: ['method', 'status'] as const,
    buckets: DURATION_BUCKETS,
    registers: [this.registry],
  });
  readonly #pool = new Gauge({
    name: 'entrepot_database_connections',
    help: 'Connections to PostgreSQL that are busy or idle, and statements that wait for one',
    labelNames: ['state'] as const,
    registers: [this.registry],
  });
  readonly #usable = new Gauge({
    name: 'entrepot_location_usable',
    help: '1 if this process can use the location for that now',
    labelNames: ['location', 'need'] as const,
    registers: [this.registry],
  });
  readonly #certificateExpiry = new Gauge({
    name: 'entrepot_certificate_expiry_timestamp_seconds',
    help: 'When a certificate of this process ends, in seconds since 1970',
    labelNames: ['use'] as const,
    registers: [this.registry],
  });

  constructor(role: string, version: string) {
    const build = new Gauge({
      name: 'entrepot_build_info',
      help: 'Always 1; tells what runs here',
      labelNames: ['role', 'version'] as const,
      registers: [this.registry],
    });
    build.set({ role, version }, 1);
  }

  /** A call was answered. */
  answered = ({ method, status, seconds }: AnsweredCall): void => this.#calls.observe({ method, status }, seconds);

  /** Says when a certificate ends; `use` is what it serves for. */
  certificateExpires(use: 'grpc' | 'https', when: Date): void {
    this.#certificateExpiry.set({ use }, when.getTime() / 1000);
  }

  /** How the connections to the database are used now. */
  pool({ busy, idle, waiting }: PoolState): void {
    this.#pool.set({ state: 'busy' }, busy);
    this.#pool.set({ state: 'idle' }, idle);
    this.#pool.set({ state: 'waiting' }, waiting);
  }

  /** Which locations can be used now. */
  usable(locations: readonly { readonly name: string; serves(need: 'read' | 'write'): boolean }[]): void {
    for (const location of locations) {
      for (const need of ['read', 'write'] as const)
        this.#usable.set({ location: location.name, need }, location.serves(need) ? 1 : 0);
    }
  }
}
