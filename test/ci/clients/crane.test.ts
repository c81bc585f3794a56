/** crane: pushes, copies between the regions, lists, looks and deletes. */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { attempt, run } from '../../support/command.js';
import { type WrittenImage, type WrittenIndex, writeIndexLayout, writeLayout } from '../../support/images.js';
import { sha256 } from '../../support/oci-client.js';
import { type Stack, startStack } from '../../support/stack.js';
import { suite } from '../../support/suite.js';
import { temporaryFolder } from '../../support/tmp.js';

const test = suite('crane', { needs: ['crane'], timeoutMs: 60_000 });

let stack: Stack;
let us: string;
let eu: string;
let image: WrittenImage;
let index: WrittenIndex;
let folder: string;

test.before(async () => {
  stack = await startStack();
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
  folder = await temporaryFolder('crane');
  image = await writeLayout(join(folder, 'image'), { layers: [300_000, 20], seed: 'crane image' });
  index = await writeIndexLayout(join(folder, 'index'), { layers: [1_000], seed: 'crane index' });
  await crane('push', join(folder, 'image'), `${us}/cr/app:1`);
  await crane('push', '--index', join(folder, 'index'), `${us}/cr/multi:1`);
});

const settings = () => ({ env: { DOCKER_CONFIG: folder } });
const crane = async (...parameters: string[]) => (await run('crane', ['--insecure', ...parameters], settings())).trim();

test('what was pushed to us is whole in eu', async () => {
  assert.is(await crane('digest', `${eu}/cr/app:1`), image.digest);
  // Reads everything and compares it with what the manifest says.
  assert.match(await crane('validate', '--remote', `${eu}/cr/app:1`), 'PASS');
  assert.is(sha256(Buffer.from(await crane('config', `${eu}/cr/app:1`))), image.config.digest);
  const pulled = join(folder, 'pulled');
  await crane('pull', '--format', 'oci', `${eu}/cr/app:1`, pulled);
  await crane('push', pulled, `${eu}/cr/again:1`);
  assert.is(await crane('digest', `${us}/cr/again:1`), image.digest);
});

test('an index: whole, by platform, and copied from one region to a repository of the other', async () => {
  // crane makes an index of the layout's own, with ours in it.
  const pushed = JSON.parse(await crane('manifest', `${eu}/cr/multi:1`));
  assert.equal(
    pushed.manifests.map((each: { digest: string }) => each.digest),
    [index.digest],
  );
  await crane('copy', `${us}/cr/multi@${index.digest}`, `${eu}/cr/copied:1`);
  assert.is(await crane('digest', `${us}/cr/copied:1`), index.digest);
  assert.is(await crane('digest', '--platform', 'linux/arm64', `${us}/cr/copied:1`), index.images[1]?.digest);
});

test('a layer more, appended to what eu has', async () => {
  const layer = join(folder, 'layer.tar');
  await run('tar', ['--create', '--file', layer, '--directory', join(folder, 'image'), 'oci-layout']);
  await crane('append', '--base', `${eu}/cr/app:1`, '--new_layer', layer, '--new_tag', `${eu}/cr/appended:1`);
  const { layers } = JSON.parse(await crane('manifest', `${us}/cr/appended:1`));
  assert.is(layers.length, 3);
  assert.match(await crane('validate', '--remote', `${us}/cr/appended:1`), 'PASS');
});

test('tags: set in one region, listed in the other; the catalog', async () => {
  await crane('tag', `${us}/cr/app:1`, 'latest');
  assert.equal((await crane('ls', `${eu}/cr/app`)).split('\n').sort(), ['1', 'latest']);
  const names = (await crane('catalog', eu)).split('\n');
  for (const name of ['cr/app', 'cr/multi']) assert.ok(names.includes(name), names.join());
});

test('what is deleted in us is gone in eu at once', async () => {
  await crane('copy', `${us}/cr/app:1`, `${us}/cr/deleted:1`);
  await crane('delete', `${us}/cr/deleted@${image.digest}`);
  for (const reference of [':1', `@${image.digest}`]) {
    const gone = await attempt('crane', ['--insecure', 'manifest', `${eu}/cr/deleted${reference}`], settings());
    assert.is.not(gone.code, 0);
    assert.match(gone.stderr, 'MANIFEST_UNKNOWN');
  }
});

test.run();
