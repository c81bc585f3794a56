/** Two workers of one region, and a link that is full: pulls still share the crossings, whichever worker makes the copy. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { checkHealth } from '../../lib/rpc/health.js';
import { assertWhole, type FarStack, pullMany, startFarStack, startSecondGateway } from '../support/far.js';
import { freePort } from '../support/ports.js';
import { startProcess } from '../support/process.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('crossings, two workers', { timeoutMs: 180_000, fileTimeoutMs: 400_000 });
const MiB = 1024 * 1024;
const repository = 'far/app';
let stack: FarStack;
/** Both gateways of eu. */
let gateways: string[];

test.before(async () => {
  stack = await startFarStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'worker-eu', 'gateway-us', 'gateway-eu'],
  });
  gateways = [stack.eu, await startSecondGateway(stack)];
  await stack.setReplicatorIdle(true);
});

/** Starts another worker in eu; resolves to its address once it is known. */
async function startSecondWorker(): Promise<string> {
  const listen = `127.0.0.1:${await freePort()}`;
  await startProcess({
    name: 'second worker of eu',
    script: 'worker/main.js',
    config: stack.config,
    env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'eustorage', ENTREPOT_WORKER_LISTEN: listen },
    ready: () => checkHealth(listen, '', 2_000),
  });
  const known = () => stack.sql('select 1 from worker where address = $1', [listen]);
  assert.ok(await until(async () => (await known()).length > 0, 20_000));
  return listen;
}

test('a worker that the gateways have not heard of makes the copy: they find it', async () => {
  const [size, small] = [24 * MiB, await stack.push(repository, MiB)];
  const second = await startSecondWorker();
  const link = stack.links.usstorage;
  const first = stack.part('worker-eu');
  first.kill('SIGSTOP');
  await stack.setReplicatorIdle(false);
  link.bytesPerSecond = 2 * MiB;
  const crossed = await stack.crossed(async () => {
    const digest = await stack.push(repository, size);
    const claimed = () => stack.sql('select 1 from replication where lease_token is not null');
    assert.ok(await until(async () => (await claimed()).length > 0, 20_000));
    first.kill('SIGCONT');
    // Who lives is asked for by a reader that comes after more than three seconds, and not again by the next one.
    await sleep(3_500);
    await stack.sql('update worker set ended = true where address = $1', [second]);
    await assertWhole(pullMany(gateways, repository, small, 2), small, MiB);
    await stack.sql('update worker set ended = false where address = $1', [second]);
    const pulls = pullMany(gateways, repository, digest, 4);
    await sleep(500);
    link.bytesPerSecond = 24 * MiB;
    await assertWhole(pulls, digest, size);
  });
  assert.ok(crossed <= 1.1 * (size + MiB), `${crossed / (size + MiB)} times the blobs crossed`);
});

test('two workers share the region, and the link is full: a pull finds the one that makes the copy', async () => {
  stack.links.usstorage.bytesPerSecond = 24 * MiB;
  const [size, count] = [16 * MiB, 6];
  const crossed = await stack.crossed(async () => {
    const pulls = Array.from({ length: count }, async () => {
      const digest = await stack.push(repository, size);
      await assertWhole(pullMany(gateways, repository, digest, 4), digest, size);
    });
    await Promise.all(pulls);
  });
  console.log(`two workers: the blobs crossed ${(crossed / size / count).toFixed(4)} times`);
  assert.ok(crossed <= 1.1 * size * count, `${crossed / size / count} times the blobs crossed`);
});

test.run();
