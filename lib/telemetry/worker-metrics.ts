/** What a worker measures beside what every process does. */
import { Counter, Gauge, Histogram } from 'prom-client';
import { ProcessMetrics } from './process-metrics.js';

/** From a copy that is done at once to one that takes an hour. */
const LAG_BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600];

/** How large a blob is, for the label `size`: a copy's time depends on it. */
export function sizeClass(bytes: number): string {
  if (bytes <= 1024 ** 2) return 'small';
  return bytes <= 100 * 1024 ** 2 ? 'medium' : 'large';
}

export class WorkerMetrics extends ProcessMetrics {
  readonly replicationLag = new Histogram({
    name: 'entrepot_replication_lag_seconds',
    help: 'From when a copy became necessary to when it was verified at its target',
    labelNames: ['source', 'target', 'size'] as const,
    buckets: LAG_BUCKETS,
    registers: [this.registry],
  });
  readonly replicationBytes = new Counter({
    name: 'entrepot_replication_copied_bytes_total',
    help: 'Bytes of blobs that were copied and verified',
    labelNames: ['source', 'target'] as const,
    registers: [this.registry],
  });
  readonly checkpointedBytes = new Counter({
    name: 'entrepot_replication_checkpointed_bytes_total',
    help: 'Bytes of copies that are being made which have become safe at their target: no crash loses them',
    labelNames: ['target'] as const,
    registers: [this.registry],
  });
  readonly replicationFailures = new Counter({
    name: 'entrepot_replication_failures_total',
    help: 'Tries of copies that failed; each is tried again',
    labelNames: ['source', 'target'] as const,
    registers: [this.registry],
  });
  readonly replicationDamaged = new Counter({
    name: 'entrepot_replication_damaged_total',
    help: 'Copies that turned out not to be what their digest says',
    labelNames: ['location'] as const,
    registers: [this.registry],
  });
  readonly missingBlobs = new Gauge({
    name: 'entrepot_replication_missing_blobs',
    help: 'Blobs that a location must have and does not have yet',
    labelNames: ['location'] as const,
    registers: [this.registry],
  });
  readonly missingBytes = new Gauge({
    name: 'entrepot_replication_missing_bytes',
    help: 'Their bytes',
    labelNames: ['location'] as const,
    registers: [this.registry],
  });
  readonly oldestMissing = new Gauge({
    name: 'entrepot_replication_oldest_missing_seconds',
    help: 'For how long the oldest of them has been missing; 0 if none is',
    labelNames: ['location'] as const,
    registers: [this.registry],
  });
  readonly pendingRequeues = new Gauge({
    name: 'entrepot_replication_pending_requeues',
    help: 'Changes of where blobs must be whose difference is still being queued',
    registers: [this.registry],
  });
  readonly takenOver = new Gauge({
    name: 'entrepot_replication_taken_over',
    help: '1 while this worker copies to a location that no living worker is meant for',
    labelNames: ['location'] as const,
    registers: [this.registry],
  });
}
