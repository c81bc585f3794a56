/** The metrics: that the page describes just those that there are, and that they can be fetched. */
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { GatewayMetrics } from '../../lib/telemetry/gateway-metrics.js';
import { MetricsListener } from '../../lib/telemetry/metrics-listener.js';
import { StorageMetrics } from '../../lib/telemetry/storage-metrics.js';
import { sizeClass, WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { quiet } from '../support/clients.js';
import { freePort } from '../support/ports.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('telemetry: metrics');

async function listening(metrics: WorkerMetrics, refresh: () => Promise<void> = async () => {}): Promise<string> {
  const listen = { host: '127.0.0.1', port: 0 };
  const listener = await MetricsListener.start({ listen, metrics, refresh, log: quiet });
  atEnd(() => listener.close());
  return `http://127.0.0.1:${listener.port}`;
}

test('the page lists every metric with its type and labels, and no other', () => {
  const text = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` \| (\w+) \|([^|]*)\|/gm)];
  const documented = rows.map(([, name, type, labels = '']) => [name, type, labels.replace(/[` ]/g, '')].join(' '));
  const all = [
    new GatewayMetrics('gateway', 'test'),
    new StorageMetrics('storage-proxy', 'test'),
    new WorkerMetrics('worker', 'test'),
  ];
  const registered = all
    .flatMap(metrics => metrics.registry.getMetricsAsArray())
    .map(metric => metric as unknown as { name: string; type: string; labelNames: string[] })
    .map(({ name, type, labelNames }) => [name, type, labelNames.join()].join(' '));
  assert.ok(registered.length > 5);
  assert.equal(documented.sort(), [...new Set(registered)].sort());
});

test('they are served at /metrics, brought up to date before, and nothing else is served', async () => {
  const metrics = new WorkerMetrics('worker', 'test');
  const base = await listening(metrics, async () => metrics.missingBlobs.set({ location: 'eustorage' }, 7));
  metrics.replicationLag.observe({ source: 'us', target: 'eu', size: sizeClass(5) }, 1.5);
  const answer = await fetch(`${base}/metrics`);
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const text = await answer.text();
  assert.match(text, 'entrepot_replication_missing_blobs{location="eustorage"} 7');
  assert.match(text, 'entrepot_replication_lag_seconds_bucket{le="2.5",source="us",target="eu",size="small"} 1');
  for (const path of ['/', '/metrics/x']) assert.is((await fetch(base + path)).status, 404);
  assert.is((await fetch(`${base}/metrics`, { method: 'POST' })).status, 404);
});

test('without the database, what it is not needed for is served all the same', async () => {
  const base = await listening(new WorkerMetrics('worker', 'test'), () => Promise.reject(new Error('no database')));
  assert.is((await fetch(`${base}/metrics`)).status, 200);
});

test('a database that does not answer does not hold up the others for long', async () => {
  const base = await listening(new WorkerMetrics('worker', 'test'), () => new Promise(() => {}));
  const answer = await fetch(`${base}/metrics`, { signal: AbortSignal.timeout(10_000) });
  assert.is(answer.status, 200);
});

test('an address that is taken is named together with its key', async () => {
  const port = await freePort();
  const options = {
    listen: { host: '127.0.0.1', port },
    metrics: new WorkerMetrics('worker', 'test'),
    refresh: async () => {},
    log: quiet,
  };
  const first = await MetricsListener.start(options);
  atEnd(() => first.close());
  const error = await MetricsListener.start(options).catch((failure: Error) => failure);
  assert.match(String(error), `127.0.0.1:${port}: something listens there already (ENTREPOT_METRICS_LISTEN `);
});

test.run();
