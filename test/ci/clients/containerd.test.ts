/** containerd, by way of ctr: pushes, pulls, and mirrors as Kubernetes nodes have them. */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type Containerd, startContainerd } from '../../support/containerd.js';
import { type WrittenImage, type WrittenIndex, writeIndexLayout, writeLayout } from '../../support/images.js';
import { freePort } from '../../support/ports.js';
import { skopeoPull, skopeoPush } from '../../support/skopeo.js';
import { type Stack, startStack } from '../../support/stack.js';
import { suite } from '../../support/suite.js';
import { temporaryFolder } from '../../support/tmp.js';

const test = suite('containerd', { needs: ['containerd', 'skopeo'], timeoutMs: 60_000 });

let stack: Stack;
let containerd: Containerd;
let us: string;
let eu: string;
let image: WrittenImage;
let index: WrittenIndex;

test.before(async () => {
  [stack, containerd] = await Promise.all([startStack(), startContainerd()]);
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
  const folder = await temporaryFolder('layouts');
  image = await writeLayout(join(folder, 'image'), { layers: [400_000, 100], seed: 'containerd image' });
  index = await writeIndexLayout(join(folder, 'index'), { layers: [2_000], seed: 'containerd index' });
  await skopeoPush(join(folder, 'image'), `${us}/cd/app:1`);
  await skopeoPush(join(folder, 'index'), `${us}/cd/multi:1`);
});
test.after.each(() => containerd.forget());

test('pulled from eu, pushed to eu under another name, pulled from us', async () => {
  assert.is(await containerd.pull(`${eu}/cd/app:1`), image.digest);
  await containerd.run('images', 'push', '--plain-http', `${eu}/cd/pushed:1`, `${eu}/cd/app:1`);
  await containerd.forget();
  assert.is(await containerd.pull(`${us}/cd/pushed:1`), image.digest);
  await containerd.forget();
  assert.is(await containerd.pull(`${us}/cd/pushed@${image.digest}`), image.digest);
});

test('an index with all of its platforms, there and back', async () => {
  assert.is(await containerd.pull(`${eu}/cd/multi:1`, '--all-platforms'), index.digest);
  await containerd.run('images', 'push', '--plain-http', `${us}/cd/multi:2`, `${eu}/cd/multi:1`);
  await containerd.forget();
  for (const { digest } of index.images) {
    assert.is((await skopeoPull(`${eu}/cd/multi@${digest}`)).digest, digest);
  }
  assert.is(await containerd.pull(`${eu}/cd/multi:2`, '--platform', 'linux/arm64'), index.digest);
});

test('hosts.toml: a name that exists nowhere is served by the first mirror that lives', async () => {
  const dead = `http://127.0.0.1:${await freePort()}`;
  const folder = await containerd.mirrors('registry.test:5000', [dead, stack.eu, stack.us]);
  const name = 'registry.test:5000/cd/app:1';
  assert.is(await containerd.pull(name, '--hosts-dir', folder), image.digest);
  await containerd.forget();

  // The whole gateway of eu away: us serves the same name.
  await stack.kill('gateway-eu');
  assert.is(await containerd.pull(name, '--hosts-dir', folder), image.digest);
  await stack.start('gateway-eu');
});

test('a name or a tag that does not exist is told as such', async () => {
  for (const name of [`${eu}/cd/app:2`, `${eu}/not/there:1`]) {
    const end = await containerd.attempt('images', 'pull', '--plain-http', name);
    assert.is.not(end.code, 0);
    assert.match(end.stderr, `${name}: not found`);
  }
});

test.run();
