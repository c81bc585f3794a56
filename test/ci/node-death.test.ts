/**
 * A storage-proxy is killed in the middle of a push by Docker Engine, podman and skopeo, of which the last two never
 * repeat a failed PATCH: none of them may notice.
 *
 * `usstorage` has two nodes over one folder, one of which dies; `eustorage` has one, which is soon back. What a client
 * notices is what it is answered: the gateways' logs have a line for each request.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { checkHealth } from '../../lib/rpc/health.js';
import type { CommandEnd } from '../support/command.js';
import { startDocker } from '../support/docker.js';
import { openFilesOf } from '../support/folder.js';
import { writeLayout } from '../support/images.js';
import { preparePodman } from '../support/podman.js';
import { freePorts } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { skopeoPull, trySkopeoPush } from '../support/skopeo.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { throttled } from '../support/throttle.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('nodes that die under real clients', {
  needs: ['docker', 'podman', 'skopeo'],
  timeoutMs: 60_000,
  fileTimeoutMs: 300_000,
});

const MB = 1_000_000;
/** 61 MB in all; clients send them at the same time. */
const layers = [40 * MB, 20 * MB, 1 * MB];
/** Of a client's connection: skopeo would be through within a tenth of a second. */
const bytesPerSecond = 60 * MB;

interface Client {
  /** Makes an image that the client has. Returns its digests, in the client's words. */
  make(name: string): Promise<unknown>;
  push(name: string): Promise<CommandEnd>;
  /** Forgets what it has, and pulls. Returns the digests, in the same words. */
  pull(name: string): Promise<unknown>;
}

interface Place {
  readonly location: string;
  readonly folder: string;
  readonly nodes: { readonly address: string; process?: StartedProcess }[];
  /** Its region's gateway, as clients come to it. */
  readonly gateway: 'gateway-us' | 'gateway-eu';
}

const clients = new Map<string, Client>();
let stack: Stack;
let two: Place;
let one: Place;
let config: Record<string, unknown>;

test.before(async () => {
  const addresses = (await freePorts(3)).map(port => ({ address: `127.0.0.1:${port}` }));
  const folder = () => temporaryFolder('storage');
  two = { location: 'usstorage', folder: await folder(), nodes: addresses.slice(0, 2), gateway: 'gateway-us' };
  one = { location: 'eustorage', folder: await folder(), nodes: addresses.slice(2), gateway: 'gateway-eu' };
  const places = [two, one];
  const engine = ({ folder, nodes }: Place) => {
    return ['LocalStorage', { storage_path: folder, shared_filesystem: nodes.length > 1 }];
  };
  config = {
    DISTRIBUTED_STORAGE_CONFIG: Object.fromEntries(places.map(place => [place.location, engine(place)])),
    DISTRIBUTED_STORAGE_PREFERENCE: places.map(place => place.location),
    ENTREPOT_LOCATIONS: Object.fromEntries(
      places.map(({ location, nodes }) => [location, { nodes: nodes.map(node => node.address) }]),
    ),
  };
  await Promise.all(places.flatMap(place => place.nodes.map((_, index) => start(place, index))));
  await Promise.all([
    startStack({ parts: ['gateway-us', 'gateway-eu'], config }).then(started => {
      stack = started;
    }),
    dockerClient().then(client => clients.set('docker', client)),
    podmanClient().then(client => clients.set('podman', client)),
    skopeoClient().then(client => clients.set('skopeo', client)),
  ]);
});

async function start({ location, nodes }: Place, index: number): Promise<void> {
  const node = nodes[index];
  assert.ok(node);
  node.process = await startProcess({
    name: `${location} ${index}`,
    script: 'storage-proxy/main.js',
    config,
    env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: location, ENTREPOT_STORAGE_PROXY_LISTEN: node.address },
    ready: () => checkHealth(node.address, 'entrepot.storage.write', 1_000),
  });
}

/** Kills the node that writes to an upload once it has a good part of one; resolves to its index. */
async function killAtWork({ folder, nodes }: Place, signal: AbortSignal): Promise<number> {
  while (true) {
    for (const [index, { process }] of nodes.entries()) {
      assert.ok(process);
      for (const file of await openFilesOf(process.pid, folder)) {
        const path = join(folder, file);
        if (!file.startsWith('uploads/') || (await sizeOf(path)) < 4 * MB) continue;
        process.kill('SIGKILL');
        await process.exited;
        const bytes = await sizeOf(path);
        console.log(`  killed when ${(bytes / MB).toFixed(1)} MB of an upload were there`);
        assert.ok(bytes < 20 * MB, 'it was in the middle of a large layer');
        return index;
      }
    }
    await sleep(5, undefined, { signal });
  }
}

const sizeOf = async (path: string) => (await stat(path).catch(() => undefined))?.size ?? 0;

/** What a region's gateway answered to the requests about uploads to a repository, as `method status`. */
function answersOf(place: Place, repository: string): string[] {
  return stack
    .part(place.gateway)
    .log()
    .split('\n')
    .filter(line => line.includes('"msg":"request"'))
    .map(line => JSON.parse(line))
    .filter(request => request.repository === repository && request.route.startsWith('upload'))
    .map(request => `${request.method} ${request.status}`);
}

for (const name of ['docker', 'podman', 'skopeo']) {
  for (const which of ['one of two nodes, for good', 'the only node, which is soon back'] as const) {
    test(`${name}: ${which}`, async ({ signal }) => {
      const client = clients.get(name);
      assert.ok(client);
      const place = which.startsWith('one') ? two : one;
      const repository = `${name}/${place.location}`;
      const { port } = await throttled({ host: '127.0.0.1', port: stack.ports[place.gateway] }, bytesPerSecond);
      const made = await client.make(`127.0.0.1:${port}/${repository}:1`);

      const pushing = client.push(`127.0.0.1:${port}/${repository}:1`);
      const killed = await killAtWork(place, signal);
      if (place === one) {
        await sleep(500);
        await start(place, killed);
      }
      const { code, stdout, stderr } = await pushing;
      assert.is(code, 0, stdout + stderr);
      assert.not.match(stdout + stderr, /retry/i);

      // Three layers and the configuration: one request of each kind for each, all with the answer that is hoped for.
      const wanted = ['PATCH 202', 'POST 202', 'PUT 201'].flatMap(answer => Array.from({ length: 4 }, () => answer));
      await until(() => answersOf(place, repository).length >= wanted.length, 20_000);
      assert.equal(answersOf(place, repository).sort(), wanted);
      assert.equal(await client.pull(`127.0.0.1:${stack.ports[place.gateway]}/${repository}:1`), made);
      if (place === two) await start(place, killed);
    });
  }
}

async function dockerClient(): Promise<Client> {
  const docker = await startDocker();
  return {
    async make(name) {
      await docker.load(name, { layers, seed: name });
      const [image] = JSON.parse(await docker.run('image', 'inspect', name));
      return { id: image.Id, layers: image.RootFS.Layers };
    },
    push: name => docker.attempt('push', name),
    async pull(name) {
      await docker.forget();
      const { id, layers } = await docker.pull(name);
      return { id, layers };
    },
  };
}

async function podmanClient(): Promise<Client> {
  const podman = await preparePodman();
  return {
    async make(name) {
      await podman.load(name, { layers, seed: name });
      const [image] = JSON.parse(await podman.run('image', 'inspect', name));
      return { id: `sha256:${image.Id}`, layers: image.RootFS.Layers };
    },
    push: name => podman.attempt('push', '--tls-verify=false', name),
    async pull(name) {
      await podman.forget();
      const { id, layers } = await podman.pull(name);
      return { id, layers };
    },
  };
}

async function skopeoClient(): Promise<Client> {
  const folder = join(await temporaryFolder('layouts'), 'layout');
  return {
    async make(name) {
      const image = await writeLayout(folder, { layers, seed: name });
      return { digest: image.digest, blobs: [image.config, ...image.layers].map(each => each.digest).sort() };
    },
    push: name => trySkopeoPush(folder, name),
    pull: skopeoPull,
  };
}

test.run();
