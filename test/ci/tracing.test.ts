/** Traces through real processes of two regions: what a collector is told of a push, its replication, and pulls. */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import { type Collector, type ReceivedSpan, startCollector } from '../support/collector.js';
import { type OciClient, ociClient, sha256 } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('tracing: through all processes', { timeoutMs: 60_000, fileTimeoutMs: 240_000 });
const QUICK = { OTEL_BSP_SCHEDULE_DELAY: '50', OTEL_EXPORTER_OTLP_TIMEOUT: '1000' };
let collector: Collector;
let stack: Stack;
let us: OciClient;
let eu: OciClient;

test.before(async () => {
  collector = await startCollector();
  stack = await startStack({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, ...QUICK } });
  [us, eu] = [ociClient(stack.us), ociClient(stack.eu)];
  atEnd(() => {
    us.close();
    eu.close();
  });
});

/** A trace of a client's: what it sends, and its ids. */
function clientTrace(recorded = true) {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-0${recorded ? 1 : 0}` } };
}

/** Pushes a blob, both requests in one trace of the client's. */
async function pushIn(trace: ReturnType<typeof clientTrace>, bytes: Buffer): Promise<string> {
  const digest = sha256(bytes);
  const { headers } = trace;
  const begun = await us.request('POST', '/v2/team/app/blobs/uploads/', { headers });
  assert.is(begun.status, 202);
  const location = String(begun.headers.location);
  const closed = await us.request('PUT', `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`, {
    headers: { ...headers, 'content-type': 'application/octet-stream' },
    body: bytes,
  });
  assert.is(closed.status, 201);
  return digest;
}

const find = (traceId: string, service: string, name: string, more: (span: ReceivedSpan) => boolean = () => true) =>
  collector.find(
    `${name} of ${service}`,
    span => span.traceId === traceId && span.service === service && span.name === name && more(span),
  );

/** The services and names of the spans above one, as far as they have come, and the id of the one above those. */
function above(span: ReceivedSpan): string[] {
  const parent = collector.spans.find(each => each.traceId === span.traceId && each.spanId === span.parentSpanId);
  return parent ? [`${parent.service}: ${parent.name}`, ...above(parent)] : [span.parentSpanId];
}

/** Waits until all of them have come, up to the client's own. */
async function allAbove(span: ReceivedSpan, client: string): Promise<string[]> {
  await until(() => above(span).at(-1) === client, 10_000);
  return above(span);
}

function failures(traceId: string): string[] {
  return collector.spans
    .filter(span => span.traceId === traceId && span.failed)
    .map(span => `${span.service}: ${span.name}: ${span.message}`);
}

test('a push and its replication are one trace, from the client to both stores', async () => {
  const trace = clientTrace();
  // More than what travels in a batch.
  const digest = await pushIn(trace, randomBytes(2 * 1024 * 1024));
  const { traceId } = trace;

  const commitIn = (location: string) => (span: ReceivedSpan) => span.attributes['entrepot.location'] === location;
  const commit = await find(traceId, 'entrepot-storage-proxy', 'LocalStorage commit', commitIn('usstorage'));
  assert.equal(await allAbove(commit, trace.spanId), [
    'entrepot-storage-proxy: entrepot.storage.v1.Storage/CommitUpload',
    'entrepot-gateway: entrepot.storage.v1.Storage/CommitUpload',
    'entrepot-gateway: PUT /v2/{name}/blobs/uploads/{uuid}',
    trace.spanId,
  ]);
  assert.is(commit.attributes['entrepot.digest'], digest);

  const put = await find(traceId, 'entrepot-gateway', 'PUT /v2/{name}/blobs/uploads/{uuid}');
  assert.is(put.kind, 'server');
  assert.is(put.attributes['http.response.status_code'], 201);
  assert.is(put.attributes['entrepot.repository'], 'team/app');
  assert.is(put.attributes['entrepot.digest'], digest);
  const statement = await find(traceId, 'entrepot-gateway', 'select finish_upload');
  assert.is(statement.parentSpanId, put.spanId);

  const copy = await find(traceId, 'entrepot-worker', 'copy blob');
  assert.is(copy.parentSpanId, put.spanId);
  assert.is(copy.attributes['entrepot.target'], 'eustorage');
  const read = await find(traceId, 'entrepot-storage-proxy', 'LocalStorage read');
  assert.is(read.attributes['entrepot.location'], 'usstorage');
  assert.is((await allAbove(read, trace.spanId))[2], 'entrepot-worker: copy blob');
  const stored = await find(traceId, 'entrepot-storage-proxy', 'LocalStorage commit', commitIn('eustorage'));
  assert.equal(await allAbove(stored, trace.spanId), [
    'entrepot-storage-proxy: entrepot.storage.v1.Storage/CommitUpload',
    'entrepot-worker: entrepot.storage.v1.Storage/CommitUpload',
    'entrepot-worker: copy blob',
    'entrepot-gateway: PUT /v2/{name}/blobs/uploads/{uuid}',
    trace.spanId,
  ]);
  assert.equal(failures(traceId), []);
});

test('a pull is one trace from the client to the store, and the log names it', async () => {
  const digest = await pushIn(clientTrace(false), randomBytes(10_000));
  await stack.replicated();
  const trace = clientTrace();
  const answer = await eu.request('GET', `/v2/team/app/blobs/${digest}`, { headers: trace.headers });
  assert.is(answer.status, 200);
  assert.is(answer.headers['x-request-id'], trace.traceId);
  const read = await find(trace.traceId, 'entrepot-storage-proxy', 'LocalStorage read');
  assert.equal(await allAbove(read, trace.spanId), [
    'entrepot-storage-proxy: entrepot.storage.v1.Storage/ReadBlob',
    'entrepot-gateway: entrepot.storage.v1.Storage/ReadBlob',
    'entrepot-gateway: GET /v2/{name}/blobs/{digest}',
    trace.spanId,
  ]);
  assert.is(read.attributes['entrepot.bytes'], 10_000);
  const get = await find(trace.traceId, 'entrepot-gateway', 'GET /v2/{name}/blobs/{digest}');
  const line = `"trace_id":"${trace.traceId}","span_id":"${get.spanId}"`;
  assert.ok(await until(() => stack.part('gateway-eu').log().includes(line), 5_000), line);
});

test('small blobs that are copied together: each copy is in the trace of its own push', async () => {
  const traces = [clientTrace(), clientTrace(), clientTrace()];
  await stack.kill('worker-eu');
  for (const trace of traces) await pushIn(trace, randomBytes(5_000));
  const kept = await stack.sql('select trace_id, trace_span from replication order by id');
  assert.equal(
    kept.map(row => row.trace_id),
    traces.map(trace => trace.traceId),
  );
  // Another process makes them (the other region's would take over only later): what they belong to is in the database.
  await stack.start('worker-eu');
  const copies: ReceivedSpan[] = [];
  for (const [index, { traceId }] of traces.entries()) {
    const copy = await find(traceId, 'entrepot-worker', 'copy blob');
    assert.is(copy.parentSpanId, kept[index]?.trace_span);
    copies.push(copy);
  }
  const batch = await collector.find(
    'copy batch',
    span => span.name === 'copy batch' && copies.some(copy => copy.spanId === span.parentSpanId),
  );
  assert.ok(batch.links.every(link => copies.some(copy => copy.spanId === link.spanId)));
});

test('a client decides what its trace is, and not whether it is recorded', async () => {
  const trace = clientTrace(false);
  await us.request('GET', '/v2/', { headers: trace.headers });
  const base = await find(trace.traceId, 'entrepot-gateway', 'GET /v2/');
  assert.is(base.parentSpanId, trace.spanId);
});

test('a failure is told where it happened, and a client that goes away is no failure', async () => {
  const trace = clientTrace();
  const none = `sha256:${'0'.repeat(64)}`;
  const answer = await us.request('GET', `/v2/team/app/blobs/${none}`, { headers: trace.headers });
  assert.is(answer.status, 404);
  const missing = await find(trace.traceId, 'entrepot-gateway', 'GET /v2/{name}/blobs/{digest}');
  assert.not(missing.failed);
  assert.is(missing.attributes['entrepot.error_code'], 'BLOB_UNKNOWN');

  const digest = await pushIn(clientTrace(), randomBytes(16 * 1024 * 1024));
  const gone = clientTrace();
  const leave = new AbortController();
  const answered = await fetch(`${stack.us}/v2/team/app/blobs/${digest}`, {
    headers: gone.headers,
    signal: leave.signal,
  });
  await answered.body?.getReader().read();
  leave.abort();
  const cut = await find(gone.traceId, 'entrepot-gateway', 'GET /v2/{name}/blobs/{digest}');
  assert.is(cut.attributes['entrepot.cancelled'], true);
  assert.not(cut.failed);
  const read = await find(gone.traceId, 'entrepot-storage-proxy', 'LocalStorage read');
  assert.is(read.attributes['entrepot.cancelled'], true);
  assert.not(read.failed);
  await stack.replicated();
});

test('without a collector everything works, and the log says once that spans cannot be sent', async () => {
  await collector.close();
  const gateway = stack.part('gateway-us');
  const before = gateway.log().length;
  for (let round = 0; round < 20; round++) {
    const digest = await pushIn(clientTrace(), randomBytes(1_000));
    assert.is((await us.request('GET', `/v2/team/app/blobs/${digest}`)).status, 200);
  }
  const warnings = () => gateway.log().slice(before).split('could not be sent').length - 1;
  assert.ok(await until(() => warnings() > 0, 20_000));
  assert.is(warnings(), 1);
  await stack.replicated();
  const worker = stack.part('worker-eu');
  assert.equal(await worker.stop(20_000), { code: 0, signal: null });
});

test.run();
