/** The configuration of a process that records everything, and tells the test's collector at once. */
import type { TracingConfig } from '../../lib/config/config.js';
import type { Collector } from './collector.js';

export function recordingTo({ endpoint }: Collector): TracingConfig {
  return {
    endpoint: `${endpoint}/v1/traces`,
    headers: {},
    timeoutMs: 2_000,
    gzip: false,
    resource: { 'service.name': 'test' },
    sampler: { kind: 'parentbased_always_on', ratio: 1 },
    queue: { maxSpans: 1_000, maxBatch: 100, delayMs: 20, exportTimeoutMs: 2_000 },
  };
}
