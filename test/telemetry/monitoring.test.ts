/** The dashboard and the alarms: that they ask only for metrics that there are. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { GatewayMetrics } from '../../lib/telemetry/gateway-metrics.js';
import { StorageMetrics } from '../../lib/telemetry/storage-metrics.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { suite } from '../support/suite.js';

const test = suite('telemetry: dashboard and alarms');
const pathOf = (name: string) => fileURLToPath(new URL(`../../../deploy/monitoring/${name}`, import.meta.url));

const known = new Set(
  [new GatewayMetrics('gateway', ''), new StorageMetrics('storage-proxy', ''), new WorkerMetrics('worker', '')]
    .flatMap(({ registry }) => registry.getMetricsAsArray())
    .map(({ name }) => name),
);

for (const file of ['alerts.yaml', 'grafana-dashboard.json']) {
  test(`${file} asks only for metrics that there are`, () => {
    const names = readFileSync(pathOf(file), 'utf8').match(/\bentrepot_[a-z_]+/g) ?? [];
    assert.ok(names.length > 5);
    for (const name of names) assert.ok(known.has(name.replace(/_(bucket|count|sum)$/, '')), `no such metric: ${name}`);
  });
}

test('docs/alerts.md says of each alarm what to do, in their order, and of no other', () => {
  const alarms = [...readFileSync(pathOf('alerts.yaml'), 'utf8').matchAll(/^ +- alert: (\w+)$/gm)].map(
    ([, name]) => name,
  );
  assert.ok(alarms.length > 5);
  const page = readFileSync(pathOf('../../docs/alerts.md'), 'utf8');
  const sections = [...page.matchAll(/^## (Entrepot\w+)\n(.*?)(?=^## )/gms)];
  assert.equal(
    sections.map(([, name]) => name),
    alarms,
  );
  for (const [, name, text = ''] of sections) {
    for (const part of ['It means', 'Look at', 'Do']) assert.match(text, `**${part}**`, `${name}: ${part}`);
  }
});

test('every panel of the dashboard has an expression and says what it shows', () => {
  const { panels } = JSON.parse(readFileSync(pathOf('grafana-dashboard.json'), 'utf8'));
  const shown = panels.filter((panel: { type: string }) => panel.type !== 'row');
  assert.ok(shown.length > 10);
  for (const { title, description, targets } of shown) {
    assert.ok(description, title);
    assert.ok(targets.length > 0 && targets.every((target: { expr: string }) => target.expr), title);
  }
});

test.run();
