/** What an operator sees of a running registry: the metrics of every process, and alarms that Prometheus takes. */
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { runTool } from '../stores/daemon.js';
import { ociClient } from '../support/oci-client.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

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
  assert.match(worker, /entrepot_replication_missing_blobs\{location="eustorage"\} 0/);
  for (const text of [gateway, proxy, worker]) assert.match(text, /process_resident_memory_bytes \d/);
});

test('promtool takes the rules for alarms', async () => {
  const rules = fileURLToPath(new URL('../../../deploy/monitoring/alerts.yaml', import.meta.url));
  assert.match(await runTool('promtool', ['check', 'rules', rules]), 'SUCCESS');
});

test.run();
