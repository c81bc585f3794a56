/**
 * docs/moving-from-quay.md, with its scripts as they stand there. In Quay's place is another registry, with its blobs copied to
 * where Quay would keep them: all in one region's store, some in the other's.
 */
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { run } from '../support/command.js';
import { startDaemon } from '../support/daemon.js';
import { startEntrepot } from '../support/entrepot.js';
import { writeIndexLayout } from '../support/images.js';
import { findCommand } from '../support/needs.js';
import { freePort } from '../support/ports.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { accounts, writeUsers } from '../support/users.js';

const test = suite('moving from Quay', { needs: ['regctl', 'docker-registry'], timeoutMs: 120_000 });

const page = await readFile(new URL('../../../docs/moving-from-quay.md', import.meta.url), 'utf8');

let folder: string;
let quay: string;
let stack: Stack;

test.before(async () => {
  folder = await temporaryFolder('quay');
  quay = `127.0.0.1:${await freePort()}`;
  const storage = `storage: {filesystem: {rootdirectory: ${join(folder, 'quay')}}}`;
  const file = join(folder, 'quay.yml');
  await writeFile(file, `version: 0.1\n${storage}\nhttp: {addr: '${quay}'}\nlog: {accesslog: {disabled: true}}\n`);
  await startDaemon('docker-registry', ['serve', file], async () => (await fetch(`http://${quay}/v2/`)).ok);
  const users = await writeUsers({ mover: { password: 'moving' } });
  const config = { ...accounts(users), SUPER_USERS: ['mover'], ENTREPOT_ANONYMOUS_ACCESS: 'none' };
  stack = await startStack({ config });
  const host = new URL(stack.us).host;
  for (const each of [quay, host]) await inShell(`regctl registry set --tls disabled --skip-check ${each}`);
  await inShell(`echo moving | regctl registry login ${host} --user mover --pass-stdin`);
});

async function inShell(script: string): Promise<string> {
  const regctl = findCommand('regctl') ?? '';
  const PATH = `${join(regctl, '..')}:${process.env.PATH}`;
  const env = { PATH, REGCTL_CONFIG: join(folder, 'regctl.json'), DOCKER_CONFIG: folder };
  return run('sh', ['-c', `cd ${folder}; ${script}`], { env });
}

/** A script of the page, between these two registries. */
function script(name: string): string {
  const text = new RegExp(`\`${name}\`:\\n\\n\`\`\`sh\\n(.*?)\`\`\``, 's').exec(page)?.[1] ?? '';
  assert.match(text, 'FROM=quay.example.com TO=new.example.com');
  return text.replace('quay.example.com', quay).replace('new.example.com', new URL(stack.us).host);
}

async function pushToQuay(repository: string, seed: string): Promise<void> {
  const layout = join(folder, seed);
  await writeIndexLayout(layout, { layers: [200_000, 10], seed });
  await inShell(`regctl image copy ocidir://${layout}:latest ${quay}/${repository}`);
}

/** Puts the blobs where Quay has them; manifests, which it keeps in its database, are left out. */
async function layOut(): Promise<number> {
  const blobs = join(folder, 'quay/docker/registry/v2/blobs/sha256');
  let count = 0;
  for (const shard of await readdir(blobs)) {
    for (const hex of await readdir(join(blobs, shard))) {
      const from = join(blobs, shard, hex, 'data');
      if ((await readFile(from)).includes('"schemaVersion"')) continue;
      for (const location of count++ % 3 === 0 ? ['usstorage'] : ['usstorage', 'eustorage']) {
        const to = join(stack.storagePath(location), 'sha256', shard);
        await mkdir(to, { recursive: true });
        await copyFile(from, join(to, hex));
      }
    }
  }
  return count;
}

async function entrepot(...args: string[]): Promise<string> {
  const server = `127.0.0.1:${stack.ports['worker-us']}`;
  const { status, stdout, stderr } = await startEntrepot([...args, '--server', server], { env: {} }).ended;
  assert.is(status, 0, stdout + stderr);
  return stdout;
}

test('an image moves with its tag and without its bytes, and is whole in both regions', async () => {
  await pushToQuay('team/app:1', 'one');
  await pushToQuay('team/sub/web:2', 'two');
  const blobs = await layOut();
  for (const location of ['usstorage', 'eustorage']) await entrepot('adopt', location);
  await writeFile(join(folder, 'repositories.txt'), 'team/app\nteam/sub/web\n');

  await inShell(script('move.sh'));
  assert.is(await inShell(script('compare.sh')), '');
  assert.not.match(stack.part('gateway-us').log(), /"PATCH"/);
  assert.not((await readdir(folder)).includes('failed.txt'));
  await entrepot('watch');
  for (const location of ['usstorage', 'eustorage']) {
    assert.match(await entrepot('verify', location, '--digest'), `${blobs} blobs looked at`);
    assert.is((await stack.blobsOf(location)).length, blobs);
  }

  // What is pushed to Quay later comes with its bytes, and the comparison tells of it before.
  await pushToQuay('team/app:2', 'three');
  assert.is(await inShell(script('compare.sh')), 'differs: team/app:2\n');
  await inShell(script('move.sh'));
  assert.is(await inShell(script('compare.sh')), '');
});

test.run();
