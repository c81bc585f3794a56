/** What an operator sees of a running registry: the metrics of every process, and alarms that Prometheus takes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { runTool } from '../support/daemon.js';
import { ociClient } from '../support/oci-client.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('monitoring', { needs: ['promtool'], timeoutMs: 60_000 });
let stack: Stack;

test.before(async () => {
  stack = await startStack({ env: { ENTREPOT_METRICS_LISTEN: '127.0.0.1:0' } });
});

/** A process's metrics, from where its log says that they are served. */
async function metricsOf(part: PartName): Promise<string> {
  const listen = /"listen":"([^"]+)","msg":"metrics are served"/.exec(stack.part(part).log())?.[1];
  assert.ok(listen, `${part} says where its metrics are`);
  return (await fetch(`http://${listen}/metrics`)).text();
}

test('after a push and a pull, each process tells what it did', async () => {
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  const bytes = Buffer.from('a blob to be counted');
  const digest = await client.pushBlob('demo/counted', bytes);
  await stack.replicated();
  assert.ok((await client.request('GET', `/v2/demo/counted/blobs/${digest}`)).body.equals(bytes));

  const gateway = await metricsOf('gateway-us');
  assert.match(gateway, /entrepot_http_requests_total\{method="GET",route="blob",status="200"\} 1/);
  assert.match(gateway, /entrepot_location_usable\{location="eustorage",need="read"\} 1/);
  assert.match(gateway, /entrepot_database_connections\{state="idle"\} \d/);
  const proxy = await metricsOf('storage-proxy-us');
  assert.match(proxy, new RegExp(`entrepot_store_bytes_total\\{direction="written"\\} ${bytes.length}`));
  assert.match(proxy, /entrepot_rpc_duration_seconds_count\{method="CommitUpload",status="OK"\} 1/);
  assert.match(proxy, /entrepot_store_healthy\{location="usstorage",need="write"\} 1/);
  const worker = await metricsOf('worker-eu');
  assert.match(worker, new RegExp(`copied_bytes_total\\{source="usstorage",target="eustorage"\\} ${bytes.length}`));
  assert.match(worker, /checkpointed_bytes_total\{target="eustorage"\} 0/);
  assert.match(worker, /entrepot_replication_missing_blobs\{location="eustorage"\} 0/);
  for (const text of [gateway, proxy, worker]) assert.match(text, /process_resident_memory_bytes \d/);
});

const rules = fileURLToPath(new URL('../../../deploy/monitoring/alerts.yaml', import.meta.url));

test('promtool takes the rules for alarms', async () => {
  assert.match(await runTool('promtool', ['check', 'rules', rules]), 'SUCCESS');
});

const STUCK = 'EntrepotReplicationStuck';
const copied = (source: string, target: string) =>
  `entrepot_replication_copied_bytes_total{source="${source}",target="${target}"}`;
const safe = (target: string) => `entrepot_replication_checkpointed_bytes_total{target="${target}"}`;
const missing = (location: string) => `entrepot_replication_missing_blobs{location="${location}"}`;

/** What is scraped every minute for two hours (in promtool's notation), and where the alarm rings after so many minutes. */
interface Scraped {
  readonly what: string;
  readonly series: Readonly<Record<string, string>>;
  readonly rings: Readonly<Record<number, readonly string[]>>;
}

const scrapes: readonly Scraped[] = [
  {
    what: 'one blob that takes two hours gets on all the time',
    series: {
      [missing('eu')]: '1x120',
      // It gets 4 MiB further every five minutes.
      [safe('eu')]: Array.from({ length: 24 }, (_none, n) => `${n * 4_194_304}x4`).join(' '),
      [copied('us', 'eu')]: '7000x120',
    },
    rings: { 35: [], 60: [], 119: [] },
  },
  {
    what: 'small blobs are copied, without a checkpoint',
    series: { [missing('eu')]: '50x120', [copied('us', 'eu')]: '0+1000x120' },
    rings: { 35: [], 119: [] },
  },
  {
    what: 'nothing moves from the 60th minute on',
    series: {
      [missing('eu')]: '1x120',
      [safe('eu')]: '0+4194304x60 251658240x59',
      [copied('us', 'eu')]: '7000x120',
    },
    rings: { 60: [], 80: [], 95: ['eu'], 119: ['eu'] },
  },
  {
    what: 'no worker has ever claimed anything',
    series: { [missing('eu')]: '3x120' },
    rings: { 10: [], 35: ['eu'] },
  },
  {
    what: 'one of two locations is stuck, though the workers of both tell of each',
    series: {
      [missing('eu')]: '1x120',
      [missing('us')]: '1x120',
      [safe('eu')]: '0+4194304x120',
      [safe('us')]: '8388608x120',
      [copied('eu', 'us')]: '7000x120',
    },
    rings: { 35: ['us'], 119: ['us'] },
  },
  {
    what: 'nothing is missing, and nothing is copied',
    series: { [missing('eu')]: '0x120', [safe('eu')]: '8388608x120', [copied('us', 'eu')]: '7000x120' },
    rings: { 119: [] },
  },
];

test(`${STUCK} rings where nothing gets on, and only there`, async () => {
  const file = join(await temporaryFolder('alarms'), 'tests.yaml');
  const alarmAt = ([minutes, locations]: [string, readonly string[]]) => ({
    eval_time: `${minutes}m`,
    alertname: STUCK,
    exp_alerts: locations.map(location => ({
      exp_labels: { location, severity: 'critical' },
      exp_annotations: {
        summary: `Blobs are missing in ${location}, and no copy there gets on`,
        description:
          "Is the location paused, full, or unreachable for its workers? See entrepot_location_usable and the workers' logs.",
      },
    })),
  });
  const tests = scrapes.map(({ what, series, rings }) => ({
    name: what,
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: Object.entries(rings).map(alarmAt),
  }));
  // JSON is YAML.
  await writeFile(file, JSON.stringify({ rule_files: [rules], evaluation_interval: '1m', tests }));
  assert.match(await runTool('promtool', ['test', 'rules', file]), 'SUCCESS');
});

test.run();
