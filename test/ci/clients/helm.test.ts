/** Helm: a chart, packaged and pushed to one region, used from the other. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { attempt, run } from '../../support/command.js';
import { sha256 } from '../../support/oci-client.js';
import { type Stack, startStack } from '../../support/stack.js';
import { suite } from '../../support/suite.js';
import { temporaryFolder } from '../../support/tmp.js';

const test = suite('helm', { needs: ['helm'], timeoutMs: 60_000 });

let stack: Stack;
let us: string;
let eu: string;
let folder: string;

test.before(async () => {
  stack = await startStack();
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
  folder = await temporaryFolder('helm');
  await mkdir(join(folder, 'greeter', 'templates'), { recursive: true });
  await writeFile(join(folder, 'greeter', 'values.yaml'), 'greeting: hello\n');
  await writeFile(
    join(folder, 'greeter', 'templates', 'words.yaml'),
    'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: words\ndata:\n  greeting: {{ .Values.greeting | quote }}\n',
  );
});

const helm = (...parameters: string[]) => run('helm', parameters, settings());
const settings = () => ({
  cwd: folder,
  env: { HELM_CACHE_HOME: join(folder, 'cache'), HELM_CONFIG_HOME: join(folder, 'config'), HELM_DATA_HOME: folder },
});

/** Packages a version of the chart and pushes it; its file and the digest of its manifest. */
async function push(host: string, version: string): Promise<{ file: string; digest: string }> {
  await writeFile(join(folder, 'greeter', 'Chart.yaml'), `apiVersion: v2\nname: greeter\nversion: ${version}\n`);
  await helm('package', 'greeter');
  const file = join(folder, `greeter-${version}.tgz`);
  const end = await attempt('helm', ['push', '--plain-http', file, `oci://${host}/charts`], settings());
  const digest = /Digest: (sha256:[0-9a-f]{64})/.exec(end.stdout + end.stderr)?.[1];
  if (end.code !== 0 || digest === undefined) throw new Error(`helm push: ${end.stdout}${end.stderr}`);
  return { file, digest };
}

test('a chart pushed to us is pulled, shown and rendered from eu', async () => {
  const { file, digest } = await push(us, '1.2.3');
  const pulled = await temporaryFolder('pulled');
  await helm('pull', '--plain-http', '--version', '1.2.3', '--destination', pulled, `oci://${eu}/charts/greeter`);
  assert.is(sha256(await readFile(join(pulled, 'greeter-1.2.3.tgz'))), sha256(await readFile(file)));
  const answer = await fetch(`${stack.eu}/v2/charts/greeter/manifests/1.2.3`, { headers: { accept: '*/*' } });
  assert.is(sha256(Buffer.from(await answer.arrayBuffer())), digest);

  assert.match(await helm('show', 'chart', '--plain-http', `oci://${eu}/charts/greeter`), /^version: 1\.2\.3$/m);
  const rendered = await helm(
    'template',
    '--plain-http',
    '--set',
    'greeting=moin',
    'here',
    `oci://${eu}/charts/greeter`,
  );
  assert.match(rendered, 'greeting: "moin"');
});

test('the newest version that fits is found among the tags, also one whose name has a plus', async () => {
  await push(us, '2.0.0');
  await push(eu, '2.1.0+build.5');
  await push(us, '3.0.0');
  const shown = await helm('show', 'chart', '--plain-http', '--version', '^2.0.0', `oci://${us}/charts/greeter`);
  assert.match(shown, /^version: 2\.1\.0\+build\.5$/m);
});

test('a version that does not exist is told as such', async () => {
  const end = await attempt(
    'helm',
    ['pull', '--plain-http', '--version', '9.9.9', `oci://${eu}/charts/none`],
    settings(),
  );
  assert.is.not(end.code, 0);
  assert.match(end.stderr, 'not found');
});

test.run();
