/** What skopeo does beyond a plain push and pull: indexes, whole repositories, looking, and deleting. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { attempt, run } from '../../support/command.js';
import { type WrittenImage, type WrittenIndex, writeIndexLayout, writeLayout } from '../../support/images.js';
import { sha256 } from '../../support/oci-client.js';
import { skopeoPull, skopeoPush } from '../../support/skopeo.js';
import { type Stack, startStack } from '../../support/stack.js';
import { suite } from '../../support/suite.js';
import { temporaryFolder } from '../../support/tmp.js';

const test = suite('skopeo', { needs: ['skopeo'], timeoutMs: 60_000 });

let stack: Stack;
let us: string;
let eu: string;
let index: WrittenIndex;
let image: WrittenImage;

test.before(async () => {
  stack = await startStack();
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
  const folder = await temporaryFolder('layouts');
  index = await writeIndexLayout(join(folder, 'index'), { layers: [30_000, 10], seed: 'skopeo index' });
  image = await writeLayout(join(folder, 'image'), { layers: [500_000, 0], seed: 'skopeo image' });
  await skopeoPush(join(folder, 'index'), `${us}/sk/multi:1`);
  await skopeoPush(join(folder, 'image'), `${us}/sk/app:1`);
});

const skopeo = (...parameters: string[]) => run('skopeo', parameters);
const manifestDigest = async (folder: string) => sha256(await readFile(join(folder, 'manifest.json')));

test('copy --all takes an index whole, out of eu and back into it; without --all, the image of one platform', async () => {
  const whole = await temporaryFolder('whole');
  await skopeo(
    'copy',
    '--all',
    '--preserve-digests',
    '--src-tls-verify=false',
    `docker://${eu}/sk/multi:1`,
    `dir:${whole}`,
  );
  assert.is(await manifestDigest(whole), index.digest);
  const files = await readdir(whole);
  for (const { digest, config, layers } of index.images) {
    assert.ok(files.includes(`${digest.slice('sha256:'.length)}.manifest.json`), digest);
    for (const blob of [config, ...layers]) assert.ok(files.includes(blob.digest.slice('sha256:'.length)));
  }
  await skopeo(
    'copy',
    '--all',
    '--preserve-digests',
    '--dest-tls-verify=false',
    `dir:${whole}`,
    `docker://${eu}/sk/again:1`,
  );
  assert.is(
    sha256(Buffer.from(await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${us}/sk/again:1`))),
    index.digest,
  );

  const one = await temporaryFolder('one');
  await skopeo('copy', '--override-arch', 'arm64', '--src-tls-verify=false', `docker://${eu}/sk/multi:1`, `dir:${one}`);
  assert.is(await manifestDigest(one), index.images[1]?.digest);
});

test('copy from one region to the other, by digest, and into the other format', async () => {
  const tls = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  await skopeo('copy', ...tls, `docker://${us}/sk/app@${image.digest}`, `docker://${eu}/sk/by-digest:1`);
  assert.is((await skopeoPull(`${us}/sk/by-digest:1`)).digest, image.digest);
  await skopeo('copy', ...tls, '--format', 'v2s2', `docker://${us}/sk/app:1`, `docker://${us}/sk/docker:1`);
  const raw = JSON.parse(await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${eu}/sk/docker:1`));
  assert.is(raw.mediaType, 'application/vnd.docker.distribution.manifest.v2+json');
  assert.is(raw.config.digest, image.config.digest);
});

test('inspect and list-tags', async () => {
  const seen = JSON.parse(await skopeo('inspect', '--tls-verify=false', `docker://${eu}/sk/app:1`));
  assert.is(seen.Digest, image.digest);
  assert.equal(seen.RepoTags, ['1']);
  assert.equal(
    seen.Layers,
    image.layers.map(layer => layer.digest),
  );
  const config = await skopeo('inspect', '--config', '--raw', '--tls-verify=false', `docker://${eu}/sk/app:1`);
  assert.is(sha256(Buffer.from(config)), image.config.digest);
  const { Tags } = JSON.parse(await skopeo('list-tags', '--tls-verify=false', `docker://${eu}/sk/multi`));
  assert.equal(Tags, ['1']);
});

test('sync: a repository to a folder, a folder to the other region', async () => {
  const folder = await temporaryFolder('sync');
  const tls = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  await skopeo('copy', ...tls, `docker://${us}/sk/app:1`, `docker://${us}/sk/many:a`);
  await skopeo('copy', ...tls, '--all', `docker://${us}/sk/multi:1`, `docker://${us}/sk/many:b`);
  await skopeo('sync', '--all', '--src', 'docker', '--dest', 'dir', ...tls, `${eu}/sk/many`, folder);
  assert.equal((await readdir(folder)).sort(), ['many:a', 'many:b']);
  assert.is(await manifestDigest(join(folder, 'many:b')), index.digest);

  await skopeo('sync', '--all', '--src', 'dir', '--dest', 'docker', ...tls, folder, `${eu}/mirror`);
  assert.is((await skopeoPull(`${us}/mirror/many:a`)).digest, image.digest);
  const raw = await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${us}/mirror/many:b`);
  assert.is(sha256(Buffer.from(raw)), index.digest);
});

test('sync of a list of repositories, from us to eu', async () => {
  const list = join(await temporaryFolder('list'), 'sync.yml');
  await writeFile(list, stringify({ [us]: { 'tls-verify': false, images: { 'sk/multi': ['1'], 'sk/app': [] } } }));
  await skopeo('sync', '--all', '--src', 'yaml', '--dest', 'docker', '--dest-tls-verify=false', list, `${eu}/listed`);
  for (const [name, digest] of [
    ['multi', index.digest],
    ['app', image.digest],
  ]) {
    const raw = await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${us}/listed/${name}:1`);
    assert.is(sha256(Buffer.from(raw)), digest, name);
  }
});

test('what is deleted in us is gone in eu at once, and can be pushed again', async () => {
  const tls = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  const push = () => skopeo('copy', ...tls, `docker://${us}/sk/app:1`, `docker://${us}/sk/deleted:1`);
  await push();
  assert.is((await skopeoPull(`${eu}/sk/deleted:1`)).digest, image.digest);
  await skopeo('delete', '--tls-verify=false', `docker://${us}/sk/deleted:1`);
  const gone = await attempt('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${eu}/sk/deleted:1`]);
  assert.is.not(gone.code, 0);
  assert.match(gone.stderr, 'manifest unknown');
  await push();
  assert.is((await skopeoPull(`${eu}/sk/deleted:1`)).digest, image.digest);
});

test.run();
