/**
 * What SIGTERM does to real processes as operators run them: not ready at once, taking requests for some seconds more, a
 * minute for transfers. A slow pull and a slow push live through it, at their gateway and at their storage-proxy.
 */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { checkHealth } from '../../lib/rpc/health.js';
import { type Gateway, type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { freePort } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { begin, closing, digestOf, someBytes } from '../support/pushes.js';
import { RawConnection, rawRequest } from '../support/raw-http.js';
import { suite } from '../support/suite.js';
import { soon } from '../support/wait.js';

const test = suite('shutdown', { timeoutMs: 60_000 });

/** More than all buffers on the way hold: while the client does not read, its storage-proxy has something left to send. */
const SIZE = 40_000_000;

/** Of the storage-proxy, the worker and the first gateway. */
const DELAY_SECONDS = 2;

let stack: GatewayStack;

test.before(async () => {
  stack = await startGatewayStack({ config: { ENTREPOT_SHUTDOWN_DELAY_SECONDS: DELAY_SECONDS } });
});

/** A pull and a push of the same bytes that have begun, and stand still. */
async function beginSlowly({ port, client }: Pick<Gateway, 'port' | 'client'>) {
  const bytes = someBytes(SIZE);
  const digest = await client.pushBlob('slow', bytes);

  const pull = request({ port, host: '127.0.0.1', agent: false, path: `/v2/slow/blobs/${digest}` }).end();
  const [pulling] = (await once(pull, 'response')) as [IncomingMessage];

  const path = closing(await begin(client, 'slow/pushed'), digest);
  const headers = { 'Content-Length': SIZE };
  const push = request({ port, host: '127.0.0.1', agent: false, method: 'PUT', path, headers });
  push.write(bytes.subarray(0, SIZE / 4));
  const pushing = once(push, 'response') as Promise<[IncomingMessage]>;
  // A test that fails before does not look at it.
  pushing.catch(() => {});
  push.on('error', () => {});
  pulling.on('error', () => {});

  return {
    digest,
    async finishPush(): Promise<void> {
      push.end(bytes.subarray(SIZE / 4));
      const [answer] = await pushing;
      answer.resume();
      assert.is(answer.statusCode, 201);
      assert.is(digestOf(await stack.client.pullBlob('slow/pushed', digest)), digest);
    },
    async finishPull(): Promise<void> {
      const pieces: Buffer[] = [];
      for await (const piece of pulling) pieces.push(piece);
      assert.is(digestOf(Buffer.concat(pieces)), digest);
    },
  };
}

async function endsWell(process: StartedProcess): Promise<void> {
  assert.equal(await process.exited, { code: 0, signal: null }, process.log());
  assert.not.match(process.log(), 'cut off');
}

test('a gateway: not ready at once, five seconds for those who have not heard of it, and transfers to their end', async () => {
  const { port, client, process } = await stack.startGateway({ ENTREPOT_SHUTDOWN_DELAY_SECONDS: undefined });
  const transfers = await beginSlowly({ port, client });
  process.kill('SIGTERM');
  const told = performance.now();
  await soon('not ready', async () => {
    for (const path of ['/healthz/ready', '/health/instance', '/health/endtoend'])
      assert.is((await rawRequest(port, 'GET', path)).status, 503, path);
  });
  assert.is((await rawRequest(port, 'GET', '/healthz/live')).status, 200);
  while (performance.now() - told < 4_500) {
    const late = await RawConnection.open(port);
    late.head('GET /v2/slow/tags/list HTTP/1.1', 'Host: localhost');
    const answer = await late.answer();
    assert.is(answer.status, 200);
    assert.is(answer.headers.connection, 'close');
    await late.closed;
    await sleep(200);
  }
  const refused = () =>
    rawRequest(port, 'GET', '/v2/').then(
      () => assert.unreachable('let in'),
      () => {},
    );
  await soon('the end of listening', refused, 3_000);
  assert.ok(performance.now() - told > 4_900, 'not before five seconds are over');
  assert.ok(process.isRunning());
  await transfers.finishPush();
  await transfers.finishPull();
  await endsWell(process);
});

test('a second signal ends it at once', async () => {
  const { process } = await stack.startGateway();
  process.kill('SIGTERM');
  await sleep(700);
  process.kill('SIGTERM');
  const told = performance.now();
  assert.equal(await process.exited, { code: 1, signal: null });
  assert.ok(performance.now() - told < 1_000);
  assert.match(process.log(), 'told to end once more');
});

test('a storage-proxy: not serving at once, and transfers to their end, with every call that they take', async () => {
  const { usstorage: process } = stack.proxies;
  assert.ok(process);
  const transfers = await beginSlowly(stack);
  process.kill('SIGTERM');
  const address = `127.0.0.1:${stack.proxyPorts.usstorage}`;
  for (const need of ['read', 'write'] as const)
    await soon(need, async () => assert.is(await checkHealth(address, `entrepot.storage.${need}`, 1_000), false));
  const small = someBytes(1_000);
  assert.ok((await stack.client.pullBlob('small', await stack.client.pushBlob('small', small))).equals(small));
  await sleep(DELAY_SECONDS * 1000 + 500);
  assert.ok(process.isRunning());
  // Closing it takes calls that come after the farewell, and there is no other node.
  await transfers.finishPush();
  await transfers.finishPull();
  await endsWell(process);
});

test('a worker says at once that it wants no calls', async () => {
  const address = `127.0.0.1:${await freePort()}`;
  const worker = await startProcess({
    script: 'worker/main.js',
    config: {
      DB_URI: stack.databaseUrl,
      DISTRIBUTED_STORAGE_CONFIG: { usstorage: ['LocalStorage', { storage_path: '/var/empty' }] },
      ENTREPOT_LOCATIONS: { usstorage: { nodes: [`127.0.0.1:${stack.proxyPorts.usstorage}`] } },
      ENTREPOT_WORKER_LISTEN: address,
      ENTREPOT_SHUTDOWN_DELAY_SECONDS: DELAY_SECONDS,
    },
    ready: () => checkHealth(address, '', 1_000),
  });
  worker.kill('SIGTERM');
  const told = performance.now();
  await soon('not serving', async () => assert.is(await checkHealth(address, '', 1_000), false));
  await endsWell(worker);
  assert.ok(performance.now() - told > DELAY_SECONDS * 1000 - 100);
});

test.run();
