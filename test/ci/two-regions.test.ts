/** The main job, with the clients that people use: push to one region, pull from the other, at once and for ever. */
import * as assert from 'uvu/assert';
import { type Docker, startDocker } from '../support/docker.js';
import { type Podman, preparePodman } from '../support/podman.js';
import { skopeoPull, trySkopeoPull } from '../support/skopeo.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('two regions, real clients', {
  needs: ['docker', 'podman', 'skopeo'],
  timeoutMs: 90_000,
  fileTimeoutMs: 300_000,
});
const layers = [2_000_000, 100_000, 10];
const withoutWorkers: PartName[] = ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu'];

let stack: Stack;
let docker: Docker;
let podman: Podman;
/** Hosts as clients write them in names of images. */
let us: string;
let eu: string;

test.before(async () => {
  [stack, docker, podman] = await Promise.all([startStack({ parts: withoutWorkers }), startDocker(), preparePodman()]);
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
});

/** What docker knows of an image that it has. */
async function known(name: string): Promise<{ id: string; layers: string[] }> {
  const [image] = JSON.parse(await docker.run('image', 'inspect', name));
  return { id: image.Id, layers: image.RootFS.Layers };
}

async function pushWithDocker(host: string, name: string) {
  await docker.load(`${host}/${name}`, { layers, seed: name });
  const image = await known(`${host}/${name}`);
  const digest = await docker.push(`${host}/${name}`);
  await docker.forget();
  return { digest, ...image };
}

test('what is not copied yet needs its region: a clear 503 while it is away, and by itself again after', async () => {
  const pushed = await pushWithDocker(us, 'waiting/app:1');
  await stack.kill('storage-proxy-us');

  const failed = await docker.attempt('pull', `${eu}/waiting/app:1`);
  assert.is.not(failed.code, 0);
  assert.match(failed.stderr, '503 Service Unavailable');
  const failedToo = await trySkopeoPull(`${eu}/waiting/app:1`);
  assert.is.not(failedToo.code, 0);
  assert.match(failedToo.stderr, '503 (Service Unavailable)');
  // Neither shows more of the answer, which says what is the matter.
  const answer = await fetch(`${stack.eu}/v2/waiting/app/blobs/${pushed.id}`);
  assert.is(answer.status, 503);
  assert.ok(Number(answer.headers.get('retry-after')) > 0);
  const [error] = JSON.parse(await answer.text()).errors;
  assert.is(error.code, 'UNAVAILABLE');
  assert.match(error.message, 'usstorage');

  await stack.start('storage-proxy-us');
  // The gateway notices by itself; nobody tells it.
  const pulled = await until(async () => (await docker.attempt('pull', `${eu}/waiting/app:1`)).code === 0, 20_000);
  assert.ok(pulled, 'it can be pulled again');
  assert.equal(await known(`${eu}/waiting/app:1`), { id: pushed.id, layers: pushed.layers });
  await docker.forget();
});

test('pushed to one region, pulled from the other at once, in both directions; later without the first', async () => {
  const fromUs = await pushWithDocker(us, 'made/in-us:1');
  assert.equal(await docker.pull(`${eu}/made/in-us:1`), fromUs);
  const fromEu = await pushWithDocker(eu, 'made/in-eu:1');
  assert.equal(await docker.pull(`${us}/made/in-eu:1`), fromEu);
  await docker.forget();
  // So far each location has only what was pushed to it.
  const [usBlobs, euBlobs] = [await stack.blobsOf('usstorage'), await stack.blobsOf('eustorage')];
  assert.equal(
    usBlobs.filter(digest => euBlobs.includes(digest)),
    [],
  );

  const bySkopeo = await skopeoPull(`${us}/made/in-us:1`);
  assert.is(bySkopeo.digest, fromUs.digest);
  assert.ok(bySkopeo.blobs.includes(fromUs.id), 'docker and skopeo agree about the configuration');

  await stack.start('worker-us');
  await stack.start('worker-eu');
  await stack.replicated();
  await stack.kill('storage-proxy-us');

  assert.equal(await skopeoPull(`${eu}/made/in-us:1`), bySkopeo);
  assert.equal(await podman.pull(`${eu}/made/in-us:1`), fromUs);
  assert.equal(await docker.pull(`${eu}/made/in-us:1`), fromUs);
  // Also through the gateway of the region whose storage is away.
  assert.equal(await skopeoPull(`${us}/made/in-us:1`), bySkopeo);
  assert.is((await podman.pull(`${us}/made/in-eu:1`)).digest, fromEu.digest);
});

test.run();
