/** Docker Engine and podman: what one region was given, the other has, at once and after its own copy. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ociClient } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { type Engine, openPodman, startDocker } from './engines.js';

const test = suite('docker and podman', { needs: ['docker', 'podman'], timeoutMs: 90_000, fileTimeoutMs: 300_000 });
let stack: Stack;
let docker: Engine;
let podman: Engine;
let us = '';
let eu = '';

test.before(async () => {
  stack = await startStack();
  us = new URL(stack.us).host;
  eu = new URL(stack.eu).host;
  [docker, podman] = [await startDocker(), await openPodman()];
});

/** Makes an image of one file with random content, known to the engine under `name`. */
async function makeImage(engine: Engine, name: string): Promise<void> {
  const archive = join(await temporaryFolder('image'), 'image.tar');
  await writeFile(archive, tarOf('content', randomBytes(3 << 20)));
  await engine('import', archive, name);
}

async function digestAt(base: string, repository: string): Promise<string> {
  const client = ociClient(base);
  try {
    return (await client.pullManifest(repository, '1')).digest;
  } finally {
    client.close();
  }
}

test('docker pushes to us and pulls from eu at once; podman pulls it when us is gone', async () => {
  await stack.kill('worker-us');
  await stack.kill('worker-eu');
  await makeImage(docker, `${us}/demo/first:1`);
  const pushed = /digest: (sha256:\w+)/.exec(await docker('push', `${us}/demo/first:1`))?.[1];
  assert.ok(pushed);
  assert.equal(await stack.blobsOf('eustorage'), []);
  assert.match(await docker('pull', `${eu}/demo/first:1`), `Digest: ${pushed}`);

  await stack.start('worker-us');
  await stack.start('worker-eu');
  await stack.replicated();
  await stack.kill('storage-proxy-us');
  await podman('pull', '--tls-verify=false', `${eu}/demo/first:1`);
  assert.is(await podman('image', 'inspect', '--format', '{{.Digest}}', `${eu}/demo/first:1`), pushed);
  await stack.start('storage-proxy-us');
});

test('podman pushes to eu, docker pulls from us', async () => {
  await makeImage(podman, `${eu}/demo/second:1`);
  await podman('push', '--tls-verify=false', `${eu}/demo/second:1`);
  const digest = await digestAt(stack.eu, 'demo/second');
  assert.match(await docker('pull', `${us}/demo/second:1`), `Digest: ${digest}`);
  assert.is(await digestAt(stack.us, 'demo/second'), digest);
});

test.run();

/** A tar archive of one file. */
function tarOf(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(512);
  const put = (text: string, offset: number) => header.write(text, offset, 'latin1');
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0');
  put(name, 0);
  put(octal(0o644, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(content.length, 11), 124);
  put(octal(0, 11), 136);
  put('        ', 148);
  put('0', 156);
  put('ustar\0' + '00', 257);
  put(
    `${octal(
      header.reduce((sum, byte) => sum + byte, 0),
      6,
    )}\0 `,
    148,
  );
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512), Buffer.alloc(1024)]);
}
