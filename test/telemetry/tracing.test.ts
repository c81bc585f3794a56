/** What is recorded, in this process: a real exporter, and a collector that the test stands for. */
import * as assert from 'uvu/assert';
import type { TracingConfig } from '../../lib/config/config.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { activeTraceParent, beginChild, beginRoot, inSpan } from '../../lib/telemetry/span.js';
import { parseTraceParent, unrecorded } from '../../lib/telemetry/trace-id.js';
import { startTracing, type Tracing } from '../../lib/telemetry/tracing.js';
import { type Collector, startCollector } from '../support/collector.js';
import { suite } from '../support/suite.js';

const test = suite('telemetry: traces');
const lines: string[] = [];
const log = createLogger({ name: 'test', level: 'info', stream: { write: line => lines.push(line) } });
const PARENT = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), recorded: true };
let collector: Collector;
let tracing: Tracing;

test('before it is started nothing is recorded, and nothing is active', async () => {
  const span = beginRoot({ name: 'request', kind: 'server', parent: undefined });
  assert.is(span.traceId, undefined);
  assert.is(span.isRecorded, false);
  assert.is(
    span.run(() => beginChild('child', 'internal')),
    undefined,
  );
  assert.is(await inSpan('work', 'internal', {}, async () => activeTraceParent() ?? 'none'), 'none');
  span.end();
});

test('started: spans are sent, each below the one that was active', async () => {
  collector = await startCollector();
  const config: TracingConfig = {
    endpoint: `${collector.endpoint}/v1/traces`,
    headers: { authorization: 'Bearer hunter2' },
    timeoutMs: 2_000,
    gzip: true,
    resource: { 'service.name': 'test', 'cloud.region': 'us' },
    sampler: { kind: 'parentbased_traceidratio', ratio: 0 },
    queue: { maxSpans: 100, maxBatch: 10, delayMs: 20, exportTimeoutMs: 2_000 },
  };
  tracing = startTracing({ config, version: '1.2.3', log });
  const root = beginRoot({ name: 'request', kind: 'server', parent: PARENT, attributes: { a: 1, b: ['x', 'y'] } });
  assert.is(root.traceId, PARENT.traceId);
  await root.run(async () => {
    const failing = inSpan('work', 'client', {}, async () => {
      log.info('in a span');
      throw new Error('postgresql://me:hunter2@db is away');
    });
    await failing.catch(() => {});
  });
  root.end();
  const work = await collector.find('work', span => span.name === 'work');
  const request = await collector.find('request', span => span.name === 'request');
  assert.is(work.parentSpanId, request.spanId);
  assert.is(request.parentSpanId, PARENT.spanId);
  assert.is(request.kind, 'server');
  assert.is(request.attributes.a, 1);
  assert.is(request.resource['cloud.region'], 'us');
  assert.is(request.resource['service.version'], '1.2.3');
  assert.ok(work.failed);
  assert.is(work.message, 'postgresql://***@db is away');
  assert.is(collector.headers.authorization, 'Bearer hunter2');
  assert.is(collector.headers['content-encoding'], 'gzip');
  const line = lines.find(each => each.includes('in a span')) ?? '';
  assert.is(JSON.parse(line).trace_id, PARENT.traceId);
  assert.is(JSON.parse(line).span_id, work.spanId);
});

test('who may say what is recorded: our own processes, and no stranger', () => {
  const own = beginRoot({ name: 'call', kind: 'server', parent: PARENT });
  assert.is(own.isRecorded, true);
  // The sampler says that nothing is to be recorded that begins here.
  const strange = beginRoot({ name: 'request', kind: 'server', parent: PARENT, untrusted: true });
  assert.is(strange.isRecorded, false);
  assert.is(strange.traceId, PARENT.traceId);
  assert.is(strange.run(activeTraceParent), undefined);
  const off = beginRoot({ name: 'copy', kind: 'consumer', parent: unrecorded(PARENT.traceId) });
  assert.is(off.isRecorded, false);
  assert.is(beginRoot({ name: 'copy', kind: 'consumer', parent: undefined }).isRecorded, false);
});

test('what another process is told leads back to the span', () => {
  const span = beginRoot({ name: 'request', kind: 'server', parent: PARENT });
  const told = parseTraceParent(span.run(activeTraceParent));
  assert.equal(told, span.parent);
  assert.is(told?.recorded, true);
  assert.is.not(told?.spanId, PARENT.spanId);
});

test('a span that begins while another one is active, and is not below it, refers to it', async () => {
  const asker = beginRoot({ name: 'asker', kind: 'server', parent: PARENT });
  const copy = asker.run(() =>
    beginRoot({ name: 'asked copy', kind: 'consumer', parent: { ...PARENT, traceId: 'c'.repeat(32) } }),
  );
  copy.end();
  const found = await collector.find('asked copy', span => span.name === 'asked copy');
  assert.is(found.traceId, 'c'.repeat(32));
  assert.equal(found.links, [{ traceId: PARENT.traceId, spanId: asker.parent?.spanId }]);
});

test('a cancellation, or what is not there, is no failure', async () => {
  const fails = (name: string, status: string) =>
    beginRoot({ name: 'root', kind: 'server', parent: PARENT })
      .run(() => inSpan(name, 'client', {}, async () => Promise.reject(Object.assign(new Error('x'), { status }))))
      .catch(() => {});
  await fails('cancelled', 'CANCELLED');
  await fails('missing', 'NOT_FOUND');
  await fails('away', 'UNAVAILABLE');
  const cancelled = await collector.find('cancelled', span => span.name === 'cancelled');
  assert.is(cancelled.attributes['entrepot.cancelled'], true);
  assert.not(cancelled.failed);
  assert.not((await collector.find('missing', span => span.name === 'missing')).failed);
  const away = await collector.find('away', span => span.name === 'away');
  assert.ok(away.failed);
  assert.is(away.attributes['error.type'], 'UNAVAILABLE');
});

test('with nobody to take them spans are dropped, and the end does not wait', async () => {
  await collector.close();
  for (let count = 0; count < 500; count++) beginRoot({ name: 'lost', kind: 'server', parent: PARENT }).end();
  await tracing.stop(200);
  assert.ok(lines.filter(line => line.includes('nothing else is affected')).length <= 1);
  assert.not(lines.some(line => line.includes('hunter2')));
});

test.run();
