/** buildah: images made step by step, pushed to one region and built upon from the other. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { run } from '../../support/command.js';
import { containersSettings } from '../../support/containers.js';
import { ociClient } from '../../support/oci-client.js';
import { type Stack, startStack } from '../../support/stack.js';
import { atEnd, suite } from '../../support/suite.js';
import { temporaryFolder } from '../../support/tmp.js';

const test = suite('buildah', { needs: ['buildah'], timeoutMs: 60_000 });

let stack: Stack;
let us: string;
let eu: string;
let folder: string;
let env: Record<string, string>;

test.before(async () => {
  stack = await startStack();
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
  folder = await temporaryFolder('buildah');
  env = await containersSettings(folder);
});
test.after.each(async () => {
  await buildah('rm', '--all');
  await buildah('rmi', '--all', '--force');
});

const buildah = async (...parameters: string[]) => (await run('buildah', parameters, { env, cwd: folder })).trim();

/** A container of `base` with one file more. */
async function withFile(base: string, name: string, content: string): Promise<string> {
  await writeFile(join(folder, name), content);
  const container = await buildah('from', '--tls-verify=false', base);
  await buildah('copy', container, name, `/${name}`);
  return container;
}

async function push(name: string): Promise<string> {
  const digestFile = join(folder, 'digest');
  await buildah('push', '--tls-verify=false', '--digestfile', digestFile, name);
  return (await readFile(digestFile, 'utf8')).trim();
}

const digestOf = (name: string) => buildah('inspect', '--type', 'image', '--format', '{{.FromImageDigest}}', name);

test('an image from scratch, pushed to us; another one upon it, pulled from eu, pushed to eu', async () => {
  const first = await withFile('scratch', 'first', 'one');
  await buildah('config', '--entrypoint', '["/first"]', '--label', 'made=here', first);
  await buildah('commit', '--timestamp', '1700000000', first, `${us}/bh/app:1`);
  const digest = await push(`${us}/bh/app:1`);
  await buildah('rm', first);
  await buildah('rmi', '--all', '--force');

  const second = await withFile(`${eu}/bh/app:1`, 'second', 'two');
  assert.is(await digestOf(`${eu}/bh/app:1`), digest);
  const mounted = await buildah('mount', second);
  assert.is(await readFile(join(mounted, 'first'), 'utf8'), 'one');
  // Committed straight to the registry, in the other format.
  await buildah('commit', '--tls-verify=false', '--format', 'docker', second, `docker://${eu}/bh/app:2`);
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  const pushed = await client.pullManifest('bh/app', '2');
  assert.is(pushed.mediaType, 'application/vnd.docker.distribution.manifest.v2+json');
  assert.is(JSON.parse(pushed.bytes.toString()).layers.length, 2);
});

test('a build from a file, without any RUN', async () => {
  await writeFile(join(folder, 'content'), 'content');
  await writeFile(join(folder, 'Containerfile'), 'FROM scratch\nCOPY content /content\nENV A=b\n');
  await buildah('bud', '--isolation', 'chroot', '--tag', `${eu}/bh/built:1`, '--file', 'Containerfile', '.');
  const digest = await push(`${eu}/bh/built:1`);
  await buildah('rmi', '--all', '--force');
  await buildah('pull', '--tls-verify=false', `${us}/bh/built:1`);
  assert.is(await digestOf(`${us}/bh/built:1`), digest);
});

test('a manifest list of two images, pushed with them', async () => {
  const images: string[] = [];
  for (const architecture of ['amd64', 'arm64']) {
    const container = await withFile('scratch', architecture, architecture);
    await buildah('config', '--arch', architecture, container);
    images.push(await buildah('commit', '--quiet', container, `list-${architecture}`));
  }
  await buildah('manifest', 'create', 'both', ...images);
  await buildah('manifest', 'push', '--all', '--tls-verify=false', 'both', `docker://${us}/bh/list:1`);
  await buildah('rm', '--all');
  await buildah('manifest', 'rm', 'both');
  await buildah('rmi', '--all', '--force');
  await buildah('pull', '--tls-verify=false', '--arch', 'arm64', `${eu}/bh/list:1`);
  const container = await buildah('from', '--arch', 'arm64', '--pull-never', `${eu}/bh/list:1`);
  assert.is(await readFile(join(await buildah('mount', container), 'arm64'), 'utf8'), 'arm64');
});

test.run();
