/** What Docker Engine does with a registry beyond a plain push and pull. */
import * as assert from 'uvu/assert';
import { type Docker, startDocker } from '../../support/docker.js';
import { imageIndexType } from '../../support/images.js';
import { ociClient } from '../../support/oci-client.js';
import { type Stack, startStack } from '../../support/stack.js';
import { atEnd, suite } from '../../support/suite.js';

const test = suite('docker', { needs: ['docker', 'skopeo'], timeoutMs: 60_000 });
const manifestListType = 'application/vnd.docker.distribution.manifest.list.v2+json';

let stack: Stack;
let docker: Docker;
let us: string;
let eu: string;

test.before(async () => {
  [stack, docker] = await Promise.all([startStack(), startDocker()]);
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
});
test.after.each(() => docker.forget());

test('layers that another repository has are mounted, not sent', async () => {
  await docker.load(`${us}/mount/first:1`, { layers: [300_000, 200_000], seed: 'mount' });
  const digest = await docker.push(`${us}/mount/first:1`);
  await docker.run('tag', `${us}/mount/first:1`, `${us}/mount/second:1`);
  const output = await docker.run('push', `${us}/mount/second:1`);
  assert.is(output.match(/: Mounted from mount\/first$/gm)?.length, 2, output);
  assert.match(output, digest);
  assert.match(await docker.run('push', `${us}/mount/second:1`), /Layer already exists/);
  await docker.forget();
  assert.is((await docker.pull(`${eu}/mount/second:1`)).digest, digest);
});

test('an image of 40 layers', async () => {
  const layers = Array.from({ length: 40 }, (_, number) => number * 100);
  await docker.load(`${us}/many:1`, { layers, seed: 'many' });
  const digest = await docker.push(`${us}/many:1`);
  await docker.forget();
  const pulled = await docker.pull(`${eu}/many:1`);
  assert.is(pulled.digest, digest);
  assert.is(pulled.layers.length, 40);
});

test('docker manifest: a list of two platforms is made, pushed, and pulled by platform', async () => {
  const images: string[] = [];
  for (const architecture of ['amd64', 'arm64']) {
    const name = `${us}/multi:${architecture}`;
    await docker.load(name, { layers: [5_000], seed: architecture, architecture });
    await docker.push(name);
    images.push(name);
  }
  await docker.run('manifest', 'create', '--insecure', `${us}/multi:1`, ...images);
  const digest = (await docker.run('manifest', 'push', '--insecure', `${us}/multi:1`)).trim();
  await docker.forget();

  const client = ociClient(stack.eu);
  atEnd(() => client.close());
  const list = await client.pullManifest('multi', '1');
  assert.is(list.digest, digest);
  assert.ok([manifestListType, imageIndexType].includes(list.mediaType), list.mediaType);
  const { manifests } = JSON.parse(list.bytes.toString());
  assert.equal(
    manifests.map((each: { platform: { architecture: string } }) => each.platform.architecture),
    ['amd64', 'arm64'],
  );
  const pulled = await docker.run('pull', '--platform', 'linux/arm64', `${eu}/multi:1`);
  assert.match(pulled, digest);
  assert.is((await docker.run('image', 'inspect', '--format', '{{.Architecture}}', `${eu}/multi:1`)).trim(), 'arm64');
});

test('a name or a tag that does not exist is told as such', async () => {
  await docker.load(`${us}/there:1`, { layers: [10], seed: 'there' });
  await docker.push(`${us}/there:1`);
  const noTag = await docker.attempt('pull', `${eu}/there:2`);
  assert.is.not(noTag.code, 0);
  assert.match(noTag.stderr, /manifest unknown|not found/);
  const noName = await docker.attempt('pull', `${eu}/not/there:1`);
  assert.is.not(noName.code, 0);
  assert.match(noName.stderr, /does not exist|unknown|not found/);
});

test.run();
