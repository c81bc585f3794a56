/**
 * Traces: spans are collected and sent to a collector, in the background.
 *
 * Nothing waits for the collector: spans that end are put into a queue of bounded length, and what does not fit is
 * dropped. While the collector cannot be reached there is a line in the log now and then, and nothing else happens.
 *
 * The registration is OpenTelemetry's own, and global to the process; `span.ts` is how the rest of the code sees it.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Attributes,
  type Context,
  context,
  DiagLogLevel,
  diag,
  type Link,
  type SpanKind,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  type SamplingResult,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { TracingConfig } from '../config/config.js';
import { stripCredentials } from './credentials.js';
import type { Logger } from './log.js';
import { spansAreRecorded, UNTRUSTED } from './span.js';

/** Of all warnings about tracing, one is written in so many milliseconds. */
const WARN_EVERY_MS = 60_000;

export interface TracingOptions {
  readonly config: TracingConfig;
  readonly version: string;
  readonly log: Logger;
}

/** Tracing that has been started. */
export interface Tracing {
  /** Sends what waits, for `mostMs` at most, and ends. */
  stop(mostMs: number): Promise<void>;
}

/** Starts recording in this process. To be done once, before anything else is built. */
export function startTracing({ config, version, log }: TracingOptions): Tracing {
  const { endpoint, headers, timeoutMs, gzip, queue } = config;
  const warn = occasionally(log);
  diag.setLogger(
    { error: warn, warn, info() {}, debug() {}, verbose() {} },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  const exporter = new OTLPTraceExporter({
    url: endpoint,
    headers: { ...headers },
    timeoutMillis: timeoutMs,
    // An enum that the package does not export, whose values are these.
    ...({ compression: gzip ? 'gzip' : 'none' } as object),
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.version': version,
      'service.instance.id': randomUUID(),
      'host.name': hostname(),
      'process.pid': process.pid,
      ...config.resource,
    }),
    sampler: new SamplerForStrangers(samplerOf(config.sampler)),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: reporting(exporter, warn),
        maxQueueSize: queue.maxSpans,
        maxExportBatchSize: queue.maxBatch,
        scheduledDelayMillis: queue.delayMs,
        exportTimeoutMillis: queue.exportTimeoutMs,
      }),
    ],
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  spansAreRecorded();
  const { kind, ratio } = config.sampler;
  log.info({ endpoint: stripCredentials(endpoint), sampler: kind, ratio }, 'traces are recorded');
  return {
    async stop(mostMs) {
      const late = new AbortController();
      const flushed = provider.shutdown().catch(() => {});
      await Promise.race([flushed, sleep(mostMs, undefined, { signal: late.signal }).catch(() => {})]);
      late.abort();
    },
  };
}

function samplerOf({ kind, ratio }: TracingConfig['sampler']): Sampler {
  switch (kind) {
    case 'always_on':
      return new AlwaysOnSampler();
    case 'always_off':
      return new AlwaysOffSampler();
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(ratio);
    case 'parentbased_always_on':
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) });
  }
}

/**
 * Clients of the registry are strangers. Their trace goes on in ours, but whether it is recorded is for us to say:
 * some tools send every request as to be recorded, others none, and neither knows what the operator wants to store.
 */
class SamplerForStrangers implements Sampler {
  readonly #inner: Sampler;

  constructor(inner: Sampler) {
    this.#inner = inner;
  }

  shouldSample(
    above: Context,
    traceId: string,
    name: string,
    kind: SpanKind,
    attributes: Attributes,
    links: Link[],
  ): SamplingResult {
    const known = above.getValue(UNTRUSTED) ? trace.deleteSpan(above) : above;
    return this.#inner.shouldSample(known, traceId, name, kind, attributes, links);
  }

  toString(): string {
    return this.#inner.toString();
  }
}

/** The same exporter, whose failures are reported. */
function reporting(exporter: SpanExporter, warn: (message: string) => void): SpanExporter {
  return {
    export(spans, done) {
      exporter.export(spans, result => {
        // 0 is success.
        if (result.code !== 0)
          warn(`${spans.length} spans could not be sent: ${result.error?.message || String(result.error)}`);
        done(result);
      });
    },
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown(),
  };
}

/** Writes the first warning, and then one now and then that says how many there were. */
function occasionally(log: Logger): (message: string) => void {
  let suppressed = 0;
  let nextAt = 0;
  return message => {
    if (performance.now() < nextAt) {
      suppressed++;
      return;
    }
    nextAt = performance.now() + WARN_EVERY_MS;
    log.warn({ ...(suppressed > 0 ? { suppressed } : {}) }, `tracing: ${message}; nothing else is affected`);
    suppressed = 0;
  };
}
