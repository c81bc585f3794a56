/** podman, and what is built into it of buildah and skopeo. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { writeIndexLayout } from '../../support/images.js';
import { type Podman, preparePodman } from '../../support/podman.js';
import { type Stack, startStack } from '../../support/stack.js';
import { suite } from '../../support/suite.js';
import { temporaryFolder } from '../../support/tmp.js';

const test = suite('podman', { needs: ['podman'], timeoutMs: 60_000 });

let stack: Stack;
let podman: Podman;
let us: string;
let eu: string;

test.before(async () => {
  [stack, podman] = await Promise.all([startStack(), preparePodman()]);
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
});
test.after.each(() => podman.forget());

test('pushed to one region, pulled from the other at once', async () => {
  await podman.load(`${us}/pods/app:1`, { layers: [1_000_000, 1_000, 0], seed: 'app' });
  const [image] = JSON.parse(await podman.run('image', 'inspect', `${us}/pods/app:1`));
  const digest = await podman.push(`${us}/pods/app:1`);
  await podman.forget();
  assert.equal(await podman.pull(`${eu}/pods/app:1`), {
    digest,
    id: `sha256:${image.Id}`,
    layers: image.RootFS.Layers,
  });
});

test('both formats of manifests', async () => {
  await podman.load(`${us}/formats:1`, { layers: [1_000], seed: 'formats' });
  for (const [format, type] of [
    ['oci', 'application/vnd.oci.image.manifest.v1+json'],
    ['v2s2', 'application/vnd.docker.distribution.manifest.v2+json'],
  ] as const) {
    await podman.run('push', '--tls-verify=false', '--format', format, `${us}/formats:1`, `${us}/formats:${format}`);
    const answer = await fetch(`${stack.eu}/v2/formats/manifests/${format}`, { headers: { accept: '*/*' } });
    assert.is(answer.headers.get('content-type'), type);
    await answer.arrayBuffer();
    // It would keep the digest of an image of the same configuration.
    await podman.forget();
    const pulled = await podman.pull(`${eu}/formats:${format}`);
    assert.is(pulled.digest, answer.headers.get('docker-content-digest'));
    await podman.run('tag', `${eu}/formats:${format}`, `${us}/formats:1`);
  }
});

test('an index of two platforms, unchanged from one end to the other', async () => {
  const layout = join(await temporaryFolder('index'), 'layout');
  const index = await writeIndexLayout(layout, { layers: [3_000], seed: 'index' });
  await podman.run('manifest', 'create', 'list');
  await podman.run('manifest', 'add', '--all', 'list', `oci:${layout}:latest`);
  await podman.run('manifest', 'push', '--all', '--tls-verify=false', 'list', `docker://${us}/index:1`);

  const pulled = await fetch(`${stack.eu}/v2/index/manifests/1`, { headers: { accept: '*/*' } });
  const { manifests }: { manifests: { digest: string }[] } = JSON.parse(await pulled.text());
  assert.equal(
    manifests.map(each => each.digest),
    index.images.map(each => each.digest),
  );
  for (const [architecture, image] of [
    ['amd64', index.images[0]],
    ['arm64', index.images[1]],
  ] as const) {
    await podman.run('pull', '--quiet', '--tls-verify=false', '--arch', architecture, `${eu}/index:1`);
    const [found] = JSON.parse(await podman.run('image', 'inspect', `${eu}/index:1`));
    assert.is(`sha256:${found.Id}`, image?.config.digest);
  }
});

test('a build whose result is pushed, and built upon from the other region', async () => {
  const folder = await temporaryFolder('build');
  await writeFile(join(folder, 'file'), 'content');
  await writeFile(join(folder, 'Containerfile'), 'FROM scratch\nCOPY file /file\n');
  const build = (name: string, file: string) =>
    podman.run('build', '--tls-verify=false', '--file', join(folder, file), '--tag', name, folder);
  await build(`${us}/built:base`, 'Containerfile');
  await podman.push(`${us}/built:base`);
  await podman.forget();

  await writeFile(join(folder, 'Second'), `FROM ${eu}/built:base\nCOPY file /second\n`);
  await build(`${eu}/built:second`, 'Second');
  const digest = await podman.push(`${eu}/built:second`);
  await podman.forget();
  const pulled = await podman.pull(`${us}/built:second`);
  assert.is(pulled.digest, digest);
  assert.is(pulled.layers.length, 2);
});

test.run();
