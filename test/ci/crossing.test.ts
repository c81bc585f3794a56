/** Fifty pulls of what the region still lacks, through two gateways, and deaths on the way. */
import * as assert from 'uvu/assert';
import { checkHealth } from '../../lib/rpc/health.js';
import {
  assertWhole,
  type FarStack,
  pullMany,
  startFarStack,
  startSecondGateway,
  type ThirdLocation,
} from '../support/far.js';
import { freePort } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('crossings under load and through deaths', { timeoutMs: 180_000, fileTimeoutMs: 400_000 });
const MiB = 1024 * 1024;
const repository = 'far/app';
let stack: FarStack;
let third: ThirdLocation;
/** Both gateways of eu. */
let gateways: string[];

test.before(async () => {
  third = { name: 'apstorage', folder: await temporaryFolder('third'), address: `127.0.0.1:${await freePort()}` };
  stack = await startFarStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'worker-eu', 'gateway-us', 'gateway-eu'],
    third,
  });
  gateways = [stack.eu, await startSecondGateway(stack)];
  await stack.setReplicatorIdle(true);
});

/** Starts a process of the third location. */
async function startThird(kind: 'storage-proxy' | 'worker'): Promise<StartedProcess> {
  const address = kind === 'worker' ? `127.0.0.1:${await freePort()}` : third.address;
  return startProcess({
    name: `${kind} of the third location`,
    script: `${kind}/main.js`,
    config: stack.config,
    env: {
      QUAY_DISTRIBUTED_STORAGE_PREFERENCE: third.name,
      [kind === 'worker' ? 'ENTREPOT_WORKER_LISTEN' : 'ENTREPOT_STORAGE_PROXY_LISTEN']: address,
    },
    ready: () => checkHealth(address, kind === 'worker' ? '' : 'entrepot.storage.read', 2_000),
  });
}

test('50 pulls of 40 MiB through two gateways, half of them slow', async () => {
  const size = 40 * MiB;
  const digest = await stack.push(repository, size);
  const speed = (index: number) => (index % 4 < 2 ? {} : { bytesPerSecond: 4 * MiB });
  const crossed = await stack.crossed(() =>
    assertWhole(pullMany(gateways, repository, digest, 50, speed), digest, size),
  );
  console.log(`50 pulls: the blob crossed ${(crossed / size).toFixed(4)} times`);
  assert.ok(crossed >= size && crossed <= 1.1 * size, `${crossed / size} times the blob crossed`);
  assert.ok(await until(() => stack.hasPlacement(digest), 20_000));
});

test('the worker is killed in the middle: every pull ends well, and the next worker stores the blob', async () => {
  const size = 64 * MiB;
  const digest = await stack.push(repository, size);
  const link = stack.links.usstorage;
  link.bytesPerSecond = 24 * MiB;
  const before = link.received;
  const pulls = pullMany(gateways, repository, digest, 10, index => (index < 4 ? { bytesPerSecond: 8 * MiB } : {}));
  assert.ok(await until(() => link.received - before > 20 * MiB, 20_000));
  await stack.kill('worker-eu');
  link.bytesPerSecond = Number.POSITIVE_INFINITY;
  await assertWhole(pulls, digest, size);
  await stack.start('worker-eu');
  // The claim of the one that died runs out by itself.
  assert.ok(await until(() => stack.hasPlacement(digest), 60_000));
});

test('the worker ends in order in the middle: every pull ends well', async () => {
  const size = 64 * MiB;
  const digest = await stack.push(repository, size);
  const link = stack.links.usstorage;
  link.bytesPerSecond = 24 * MiB;
  const before = link.received;
  const pulls = pullMany(gateways, repository, digest, 10);
  assert.ok(await until(() => link.received - before > 20 * MiB, 20_000));
  assert.is((await stack.part('worker-eu').stop()).code, 0);
  link.bytesPerSecond = Number.POSITIVE_INFINITY;
  await assertWhole(pulls, digest, size);
  await stack.start('worker-eu');
  assert.ok(await until(() => stack.hasPlacement(digest), 60_000));
});

test('the source is killed in the middle: all goes on from another', async () => {
  const size = 64 * MiB;
  const proxy = await startThird('storage-proxy');
  const worker = await startThird('worker');
  const digest = await stack.push(repository, size);
  await stack.sql(`update replication set next_attempt_at = now()
    where location_id = (select id from imagestoragelocation where name = 'apstorage')`);
  assert.ok(await until(() => stack.hasPlacement(digest, 'apstorage'), 60_000));
  await worker.stop();

  const link = stack.links.usstorage;
  link.bytesPerSecond = 24 * MiB;
  const before = link.received;
  const pulls = pullMany(gateways, repository, digest, 10);
  assert.ok(await until(() => link.received - before > 20 * MiB, 20_000));
  await stack.kill('storage-proxy-us');
  await assertWhole(pulls, digest, size);
  assert.ok(await until(() => stack.hasPlacement(digest), 60_000));
  await proxy.stop();
});

test.run();
