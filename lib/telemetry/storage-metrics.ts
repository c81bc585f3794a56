/** What a storage-proxy measures beside what every process does. */
import { Counter, Gauge } from 'prom-client';
import { ProcessMetrics } from './process-metrics.js';

/** How many calls of a kind run, and how many wait for their turn. */
export interface GateState {
  readonly name: string;
  readonly running: number;
  readonly waiting: number;
}

export class StorageMetrics extends ProcessMetrics {
  readonly #healthy = new Gauge({
    name: 'entrepot_store_healthy',
    help: '1 if the last look at the store found that it can be read or written',
    labelNames: ['location', 'need'] as const,
    registers: [this.registry],
  });
  readonly #bytes = new Counter({
    name: 'entrepot_store_bytes_total',
    help: 'Bytes of blobs that callers read and wrote',
    labelNames: ['direction'] as const,
    registers: [this.registry],
  });
  readonly #gates = new Gauge({
    name: 'entrepot_store_calls',
    help: 'Calls that run, and those that wait for their turn',
    labelNames: ['kind', 'state'] as const,
    registers: [this.registry],
  });

  /** What the last look at the store found. */
  store(location: string, need: 'read' | 'write', healthy: boolean): void {
    this.#healthy.set({ location, need }, healthy ? 1 : 0);
  }

  /** Bytes went to a caller, or came from one. */
  moved = (direction: 'read' | 'written', bytes: number): void => this.#bytes.inc({ direction }, bytes);

  /** How full the gates are now. */
  gates(states: readonly GateState[]): void {
    for (const { name, running, waiting } of states) {
      this.#gates.set({ kind: name, state: 'running' }, running);
      this.#gates.set({ kind: name, state: 'waiting' }, waiting);
    }
  }
}
