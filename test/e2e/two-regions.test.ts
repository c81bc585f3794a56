/**
 * The main job with a real client: push to one region, pull from the other at once, then from its own storage; and what
 * clients see when a region is gone.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { type WrittenImage, writeIndexLayout, writeLayout } from '../support/images.js';
import { sha256 } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const run = promisify(execFile);
const test = suite('two regions: skopeo', { needs: ['skopeo'], timeoutMs: 60_000 });
let stack: Stack;
let folder: string;
const images: Record<string, WrittenImage> = {};

test.before(async () => {
  folder = await temporaryFolder('images');
  images.one = await writeLayout(join(folder, 'one'), { layers: [3_000_000, 10_000, 1], seed: 'one' });
  images.two = await writeLayout(join(folder, 'two'), { layers: [2_000_000, 500], seed: 'two' });
  images.three = await writeLayout(join(folder, 'three'), { layers: [1_000_000], seed: 'three' });
  stack = await startStack({ parts: ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu'] });
});

const at = (base: string, name: string) => `docker://${base.replace('http://', '')}/demo/${name}:1`;

async function push(name: string, base: string, ...options: string[]): Promise<void> {
  await run('skopeo', [
    'copy',
    '--quiet',
    '--dest-tls-verify=false',
    ...options,
    `oci:${join(folder, name)}:latest`,
    at(base, name),
  ]);
}

/** Pulls an image; answers the digest of the manifest that came, having hashed every blob. */
async function pull(name: string, base: string): Promise<string> {
  const to = await temporaryFolder('pulled');
  await run('skopeo', ['copy', '--quiet', '--src-tls-verify=false', at(base, name), `dir:${to}`]);
  const manifest = await readFile(join(to, 'manifest.json'));
  const { config, layers } = JSON.parse(manifest.toString());
  for (const { digest } of [config, ...layers]) {
    assert.is(sha256(await readFile(join(to, digest.replace('sha256:', '')))), digest);
  }
  return sha256(manifest);
}

test('without any worker, a push to one region can be pulled from the other at once, both ways', async () => {
  await push('one', stack.us);
  assert.is(await pull('one', stack.eu), images.one?.digest);
  await push('two', stack.eu);
  assert.is(await pull('two', stack.us), images.two?.digest);
  const inEu = await stack.blobsOf('eustorage');
  assert.not(inEu.includes(images.one?.layers[0]?.digest ?? ''), 'nothing was copied yet');
});

test('once replicated, a region serves from its own storage, with the other one dead', async () => {
  await stack.start('worker-us');
  await stack.start('worker-eu');
  await stack.replicated();
  assert.equal(await stack.blobsOf('usstorage'), await stack.blobsOf('eustorage'));
  await stack.kill('storage-proxy-us');
  assert.is(await pull('one', stack.eu), images.one?.digest);
  assert.is(await pull('two', stack.eu), images.two?.digest);
  assert.is(await pull('one', stack.us), images.one?.digest, 'the us gateway fails over to eu');
});

test('with its own storage dead, a region writes to the other', async () => {
  await push('three', stack.us);
  assert.is(await pull('three', stack.eu), images.three?.digest);
  await stack.start('storage-proxy-us');
  await stack.replicated();
  assert.ok((await stack.blobsOf('usstorage')).includes(images.three?.layers[0]?.digest ?? ''));
});

test('a region killed before replication: a clear 503, and it works again by itself after the restart', async () => {
  await stack.kill('worker-us');
  await stack.kill('worker-eu');
  images.four = await writeLayout(join(folder, 'four'), { layers: [700_000], seed: 'four' });
  await push('four', stack.us);
  await stack.kill('storage-proxy-us');
  const failure = await pull('four', stack.eu).then(
    () => undefined,
    error => String(error.stderr),
  );
  assert.match(failure ?? 'it worked', /503|Service Unavailable|no location can give/);
  const layer = images.four.layers[0]?.digest;
  const answer = await fetch(`${stack.eu}/v2/demo/four/blobs/${layer}`);
  assert.is(answer.status, 503);
  assert.ok(Number(answer.headers.get('retry-after')) > 0);
  const [error] = ((await answer.json()) as { errors: { code: string; message: string }[] }).errors;
  assert.is(error?.code, 'UNAVAILABLE');
  await stack.start('storage-proxy-us');
  assert.is(await pull('four', stack.eu), images.four.digest);
});

test('an index with two platforms keeps its digest and its children', async () => {
  const index = await writeIndexLayout(join(folder, 'multi'), { layers: [50_000, 20], seed: 'multi' });
  await push('multi', stack.us, '--all');
  const { stdout } = await run('skopeo', ['inspect', '--raw', '--tls-verify=false', at(stack.eu, 'multi')]);
  assert.is(sha256(Buffer.from(stdout)), index.digest);
  const to = await temporaryFolder('pulled');
  await run('skopeo', ['copy', '--quiet', '--all', '--src-tls-verify=false', at(stack.eu, 'multi'), `dir:${to}`]);
});

test('a tag that is deleted in one region is gone in the other at once', async () => {
  const url = (base: string) => `${base}/v2/demo/two/manifests/1`;
  assert.is((await fetch(url(stack.us), { method: 'HEAD', headers: { accept: '*/*' } })).status, 200);
  assert.is((await fetch(url(stack.eu), { method: 'DELETE' })).status, 202);
  assert.is((await fetch(url(stack.us), { method: 'HEAD', headers: { accept: '*/*' } })).status, 404);
});

test('no secret and no password stands in any log', async () => {
  const password = new URL(stack.databaseUrl).password;
  for (const name of ['gateway-us', 'gateway-eu', 'storage-proxy-us'] as const) {
    const log = stack.part(name).log();
    assert.ok(log.length > 0);
    if (password) assert.not(log.includes(password));
    assert.not(/postgres(ql)?:\/\/[^ "]*:[^ "@]+@/.test(log), 'a URL with a password');
  }
});

test.run();
