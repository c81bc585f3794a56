/** regctl: copies with everything that belongs to an image, artifacts, tags and deletes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { attempt, run } from '../../support/command.js';
import { type WrittenIndex, writeIndexLayout } from '../../support/images.js';
import { sha256 } from '../../support/oci-client.js';
import { type Stack, startStack } from '../../support/stack.js';
import { suite } from '../../support/suite.js';
import { temporaryFolder } from '../../support/tmp.js';

const test = suite('regctl', { needs: ['regctl'], timeoutMs: 60_000 });

let stack: Stack;
let us: string;
let eu: string;
let index: WrittenIndex;
let folder: string;

test.before(async () => {
  stack = await startStack();
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
  folder = await temporaryFolder('regctl');
  index = await writeIndexLayout(join(folder, 'index'), { layers: [50_000, 10], seed: 'regctl index' });
  for (const host of [us, eu]) await regctl('registry', 'set', '--tls', 'disabled', host);
  await regctl('image', 'copy', `ocidir://${join(folder, 'index')}:latest`, `${us}/rc/app:1`);
});

const settings = () => ({ env: { REGCTL_CONFIG: join(folder, 'config.json'), DOCKER_CONFIG: folder } });
const regctl = async (...parameters: string[]) => (await run('regctl', parameters, settings())).trim();

test('pushed to us, read from eu: the index, one platform of it, and a blob', async () => {
  assert.is(await regctl('image', 'digest', `${eu}/rc/app:1`), index.digest);
  assert.is(await regctl('image', 'digest', '--platform', 'linux/arm64', `${eu}/rc/app:1`), index.images[1]?.digest);
  const raw = await regctl('manifest', 'get', '--format', 'raw-body', `${eu}/rc/app@${index.images[0]?.digest}`);
  assert.is(sha256(Buffer.from(raw)), index.images[0]?.digest);
  const config = index.images[0]?.config.digest ?? '';
  assert.is(sha256(Buffer.from(await regctl('blob', 'get', `${eu}/rc/app`, config))), config);
  await regctl('image', 'export', `${eu}/rc/app:1`, join(folder, 'export.tar'));
  await regctl('image', 'import', `${eu}/rc/imported:1`, join(folder, 'export.tar'));
  assert.is(await regctl('image', 'digest', `${us}/rc/imported:1`), index.digest);
});

test('an artifact with a subject, copied along with it to the other region', async () => {
  await regctl('image', 'copy', `${us}/rc/app:1`, `${us}/rc/subject:1`);
  await writeFile(join(folder, 'sbom'), 'packages');
  const type = 'application/vnd.test.sbom';
  await regctl(
    'artifact',
    'put',
    '--artifact-type',
    type,
    '--subject',
    `${us}/rc/subject:1`,
    '--file',
    join(folder, 'sbom'),
  );
  assert.is(
    await regctl('artifact', 'get', '--subject', `${eu}/rc/subject:1`, '--filter-artifact-type', type),
    'packages',
  );
  await regctl('image', 'copy', '--referrers', '--digest-tags', `${us}/rc/subject:1`, `${eu}/rc/with-all:1`);
  const { descriptors } = JSON.parse(await regctl('artifact', 'list', '--format', '{{json .}}', `${us}/rc/with-all:1`));
  assert.equal(
    descriptors.map((each: { artifactType: string }) => each.artifactType),
    [type],
  );
});

test('repositories and tags are listed; a tag that is deleted in us is gone in eu, its manifest is not', async () => {
  await regctl('image', 'copy', `${us}/rc/app:1`, `${us}/rc/tags:a`);
  await regctl('image', 'copy', `${us}/rc/app:1`, `${us}/rc/tags:b`);
  assert.equal((await regctl('tag', 'ls', `${eu}/rc/tags`)).split('\n'), ['a', 'b']);
  assert.ok((await regctl('repo', 'ls', eu)).split('\n').includes('rc/tags'));
  await regctl('tag', 'delete', `${us}/rc/tags:a`);
  assert.equal((await regctl('tag', 'ls', `${eu}/rc/tags`)).split('\n'), ['b']);
  assert.is(await regctl('image', 'digest', `${eu}/rc/tags@${index.digest}`), index.digest);

  await regctl('manifest', 'delete', '--force-tag-dereference', `${us}/rc/tags:b`);
  const gone = await attempt('regctl', ['manifest', 'head', `${eu}/rc/tags@${index.digest}`], settings());
  assert.is.not(gone.code, 0);
  assert.match(gone.stderr, 'not found');
});

test.run();
