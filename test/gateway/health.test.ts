/** Health over HTTP: what each path says, while all is well and while a location is away. */
import * as assert from 'uvu/assert';
import { type Gateway, type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('gateway health', { fileTimeoutMs: 60_000 });
let stack: GatewayStack;
let strict: Gateway;

test.before(async () => {
  stack = await startGatewayStack({ locations: ['usstorage', 'eustorage'] });
  strict = await stack.startGateway({ ENTREPOT_HEALTH_REQUIRES_STORAGE: true });
});

async function health(path: string, client = stack.client) {
  const { status, body } = await client.request('GET', path);
  const answer = JSON.parse(body.toString());
  assert.is(answer.status_code, status);
  return { status, ...answer.data } as {
    status: number;
    services: Record<string, boolean>;
    informational?: Record<string, boolean>;
  };
}
const ALL = [
  '/healthz/live',
  '/healthz/ready',
  '/health',
  '/health/instance',
  '/health/endtoend',
  '/status',
  '/health/warning',
];

test('all is well: every path says so, in the form that monitors of Quay know', async () => {
  for (const path of ALL) assert.is((await health(path)).status, 200, path);
  assert.equal((await health('/health/endtoend')).services, { gateway: true, database: true, storage: true });
  assert.is((await stack.client.request('POST', '/health')).status, 405);
});

test("the region's own location is away: told, and a reason to say no only where that was asked for", async () => {
  stack.proxies.usstorage?.kill('SIGKILL');
  assert.ok(await until(async () => (await health('/health/warning')).status === 503, 10_000));
  for (const path of ALL.filter(each => each !== '/health/warning')) assert.is((await health(path)).status, 200, path);
  const { informational } = await health('/health/endtoend');
  assert.equal([informational?.['storage:usstorage'], informational?.['storage:eustorage']], [false, true]);
  assert.ok(await until(async () => (await health('/status', strict.client)).status === 503, 10_000));
  assert.is((await health('/health/instance', strict.client)).status, 200);
});

test('no location is left: the region no longer serves, the process still does', async () => {
  stack.proxies.eustorage?.kill('SIGKILL');
  assert.ok(await until(async () => (await health('/health/endtoend')).status === 503, 10_000));
  assert.is((await health('/health/instance')).status, 200);
  assert.is((await health('/healthz/live')).status, 200);
});

test.run();
