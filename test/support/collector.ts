/** Stands for an OpenTelemetry collector: takes OTLP over HTTP (protobuf), and keeps the spans for the test to look at. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import { atEnd } from './suite.js';
import { until } from './wait.js';

export interface ReceivedSpan {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty if it is the first of its trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly failed: boolean;
  readonly message: string;
  readonly ms: number;
}

export interface Collector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly endpoint: string;
  readonly spans: readonly ReceivedSpan[];
  /** The headers of the last export. */
  readonly headers: IncomingMessage['headers'];
  /** Waits for a span; throws with the names of those that came, if it does not come. */
  find(what: string, matches: (span: ReceivedSpan) => boolean, withinMs?: number): Promise<ReceivedSpan>;
  close(): Promise<void>;
}

const PROTO = fileURLToPath(new URL('../../../test/support/otlp/trace.proto', import.meta.url));
const KINDS = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const;
const FAILED = 2;

export async function startCollector(): Promise<Collector> {
  const service = loadSync(PROTO, { defaults: true, oneofs: true, longs: Number })[
    'opentelemetry.proto.collector.trace.v1.TraceService'
  ] as Record<string, MethodDefinition<object, object>>;
  const method = service.Export;
  if (!method) throw new Error('the service has no method Export');
  const spans: ReceivedSpan[] = [];
  let headers: IncomingMessage['headers'] = {};
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    if (request.method !== 'POST' || request.url !== '/v1/traces') return response.writeHead(404).end();
    headers = request.headers;
    const bytes = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    spans.push(...spansOf(method.requestDeserialize(bytes) as Export));
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const close = () =>
    new Promise<void>(resolve => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  atEnd(close);
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    get headers() {
      return headers;
    },
    async find(what, matches, withinMs = 10_000) {
      await until(() => spans.some(matches), withinMs);
      const found = spans.find(matches);
      if (found) return found;
      const seen = [...new Set(spans.map(span => `${span.service}: ${span.name}`))].sort();
      throw new Error(`no span came: ${what}; those that did are:\n${seen.join('\n')}`);
    },
    close,
  };
}

/** As the loader makes them: every field is there. */
interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] } | null;
    readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[];
  }[];
}
interface RawSpan {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: number;
  readonly endTimeUnixNano: number;
  readonly attributes: readonly KeyValue[];
  readonly links: readonly { readonly traceId: Buffer; readonly spanId: Buffer }[];
  readonly status: { readonly message: string; readonly code: number } | null;
}
interface KeyValue {
  readonly key: string;
  readonly value: ({ readonly value?: string } & Record<string, unknown>) | null;
}

function spansOf({ resourceSpans }: Export): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const about = valuesOf(resource?.attributes ?? []);
    return scopeSpans.flatMap(scope => scope.spans.map(span => received(span, about)));
  });
}

function received(span: RawSpan, resource: Record<string, unknown>): ReceivedSpan {
  return {
    service: String(resource['service.name']),
    traceId: span.traceId.toString('hex'),
    spanId: span.spanId.toString('hex'),
    parentSpanId: span.parentSpanId.toString('hex'),
    name: span.name,
    kind: KINDS[span.kind] ?? 'internal',
    attributes: valuesOf(span.attributes),
    resource,
    links: span.links.map(link => ({ traceId: link.traceId.toString('hex'), spanId: link.spanId.toString('hex') })),
    failed: span.status?.code === FAILED,
    message: span.status?.message ?? '',
    ms: (span.endTimeUnixNano - span.startTimeUnixNano) / 1e6,
  };
}

function valuesOf(attributes: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value?.[value.value ?? '']]));
}
