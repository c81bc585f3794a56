/** oras: artifacts that are no images, and what is attached to them. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { attempt, run } from '../../support/command.js';
import { type WrittenImage, writeLayout } from '../../support/images.js';
import { sha256 } from '../../support/oci-client.js';
import { type Stack, startStack } from '../../support/stack.js';
import { suite } from '../../support/suite.js';
import { temporaryFolder } from '../../support/tmp.js';

const test = suite('oras', { needs: ['oras'], timeoutMs: 60_000 });
const SBOM = 'application/vnd.test.sbom';
const SIGNATURE = 'application/vnd.test.signature';

let stack: Stack;
let us: string;
let eu: string;
let image: WrittenImage;
let folder: string;

test.before(async () => {
  stack = await startStack();
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
  folder = await temporaryFolder('oras');
  image = await writeLayout(join(folder, 'image'), { layers: [100_000], seed: 'oras image' });
  await oras('copy', '--from-oci-layout', '--to-plain-http', `${join(folder, 'image')}:latest`, `${us}/or/app:1`);
});

const settings = () => ({ cwd: folder, env: { DOCKER_CONFIG: folder } });
const oras = async (...parameters: string[]) => (await run('oras', parameters, settings())).trim();

interface Referrer {
  readonly digest: string;
  readonly artifactType: string;
}

async function referrers(subject: string, ...filter: string[]): Promise<Referrer[]> {
  const found = JSON.parse(await oras('discover', '--plain-http', '--format', 'json', ...filter, subject));
  return found.referrers ?? found.manifests ?? [];
}

/** Attaches a file; the digest of the artifact. */
async function attach(subject: string, type: string, file: string, content: string): Promise<string> {
  await writeFile(join(folder, file), content);
  const told = await oras('attach', '--plain-http', '--format', 'json', '--artifact-type', type, subject, file);
  return JSON.parse(told).digest;
}

test('files pushed to us, pulled from eu', async () => {
  await writeFile(join(folder, 'words.txt'), 'some words');
  const parameters = ['--plain-http', '--artifact-type', 'application/vnd.test.words', '--annotation', 'a=b'];
  const pushed = JSON.parse(
    await oras('push', ...parameters, '--format', 'json', `${us}/or/files:1,latest`, 'words.txt:text/plain'),
  );
  const target = await temporaryFolder('pulled');
  const pulled = JSON.parse(
    await oras('pull', '--plain-http', '--format', 'json', '--output', target, `${eu}/or/files:latest`),
  );
  assert.match(pulled.reference, pushed.digest);
  assert.is(await readFile(join(target, 'words.txt'), 'utf8'), 'some words');
  const manifest = await oras('manifest', 'fetch', '--plain-http', `${eu}/or/files:1`);
  assert.is(sha256(Buffer.from(manifest)), pushed.digest);
  assert.is(JSON.parse(manifest).annotations.a, 'b');
  assert.equal((await oras('repo', 'tags', '--plain-http', `${eu}/or/files`)).split('\n').sort(), ['1', 'latest']);
});

test('attached in both regions, discovered in both, filtered by type', async () => {
  const sbom = await attach(`${us}/or/app:1`, SBOM, 'sbom.json', '{"packages":[]}');
  const signature = await attach(`${eu}/or/app@${image.digest}`, SIGNATURE, 'signature', 'signed');
  // To what is attached something can be attached in turn.
  const signedSbom = await attach(`${eu}/or/app@${sbom}`, SIGNATURE, 'signature-of-sbom', 'signed, too');
  for (const host of [us, eu]) {
    const all = await referrers(`${host}/or/app:1`);
    assert.equal(all.map(({ digest }) => digest).sort(), [sbom, signature].sort(), host);
    const filtered = await referrers(`${host}/or/app:1`, '--artifact-type', SBOM);
    assert.equal(
      filtered.map(({ digest, artifactType }) => [digest, artifactType]),
      [[sbom, SBOM]],
      host,
    );
    const deeper = await referrers(`${host}/or/app@${sbom}`);
    assert.equal(
      deeper.map(({ digest }) => digest),
      [signedSbom],
    );
  }
  const target = await temporaryFolder('sbom');
  await oras('pull', '--plain-http', '--output', target, `${us}/or/app@${signature}`);
  assert.is(await readFile(join(target, 'signature'), 'utf8'), 'signed');
});

test('copied with all that is attached, from us into another repository of eu', async () => {
  const name = `${us}/or/copied-from:1`;
  await oras('copy', '--from-plain-http', '--to-plain-http', `${us}/or/app@${image.digest}`, name);
  const sbom = await attach(name, SBOM, 'other.json', '{}');
  await oras('copy', '--recursive', '--from-plain-http', '--to-plain-http', name, `${eu}/or/copied-to:1`);
  assert.equal(
    (await referrers(`${us}/or/copied-to:1`)).map(({ digest }) => digest),
    [sbom],
  );
});

test('single blobs: pushed to us, fetched from eu, deleted', async () => {
  await writeFile(join(folder, 'blob'), 'a blob');
  const digest = sha256(Buffer.from('a blob'));
  await oras('blob', 'push', '--plain-http', `${us}/or/blobs@${digest}`, 'blob');
  assert.is(await oras('blob', 'fetch', '--plain-http', '--output', '-', `${eu}/or/blobs@${digest}`), 'a blob');
  await oras('blob', 'delete', '--plain-http', '--force', `${us}/or/blobs@${digest}`);
  const gone = await attempt(
    'oras',
    ['blob', 'fetch', '--plain-http', '--output', '-', `${eu}/or/blobs@${digest}`],
    settings(),
  );
  assert.is.not(gone.code, 0);
  assert.match(gone.stderr, 'not found');
});

test('an attached artifact that is deleted is listed no more', async () => {
  await oras('copy', '--from-plain-http', '--to-plain-http', `${us}/or/app@${image.digest}`, `${us}/or/less:1`);
  const sbom = await attach(`${us}/or/less:1`, SBOM, 'gone.json', '{"gone":true}');
  await oras('manifest', 'delete', '--plain-http', '--force', `${us}/or/less@${sbom}`);
  assert.equal(await referrers(`${eu}/or/less:1`), []);
  await oras('manifest', 'delete', '--plain-http', '--force', `${us}/or/less:1`);
  assert.is.not((await attempt('oras', ['manifest', 'fetch', '--plain-http', `${eu}/or/less:1`], settings())).code, 0);
});

test.run();
