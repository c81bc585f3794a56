/** One location with two nodes on a shared file system: each may die at any byte, and no client notices. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { checkHealth } from '../../lib/rpc/health.js';
import { type OciClient, ociClient, sha256 } from '../support/oci-client.js';
import { freePorts } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('one location, two nodes', { timeoutMs: 60_000 });
const repository = 'nodes/x';
let stack: Stack;
let client: OciClient;
let folder: string;
let ports: number[];
let nodes: StartedProcess[];

test.before(async () => {
  folder = await temporaryFolder('shared');
  ports = await freePorts(2);
  const storage = {
    DISTRIBUTED_STORAGE_CONFIG: { usstorage: ['LocalStorage', { storage_path: folder, shared_filesystem: true }] },
    DISTRIBUTED_STORAGE_PREFERENCE: ['usstorage'],
    ENTREPOT_LOCATIONS: { usstorage: { nodes: ports.map(port => `127.0.0.1:${port}`) } },
  };
  nodes = await Promise.all(ports.map(port => startNode(storage, port)));
  stack = await startStack({ parts: ['gateway-us'], config: storage });
  client = ociClient(stack.us);
  atEnd(() => client.close());
});

function startNode(config: Record<string, unknown>, port: number): Promise<StartedProcess> {
  const address = `127.0.0.1:${port}`;
  return startProcess({
    name: `node ${port}`,
    script: 'storage-proxy/main.js',
    config,
    env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'usstorage', ENTREPOT_STORAGE_PROXY_LISTEN: address },
    ready: () => checkHealth(address, 'entrepot.storage.write', 1_000),
  });
}

test('both nodes say that they are the same store', async () => {
  const markers = (await readdir(folder)).filter(name => name.startsWith('.entrepot'));
  assert.is(markers.length, 1);
});

test('the chunks of one upload go to one node: its file and its running hash are gone on with', async () => {
  let { location } = (await client.request('POST', `/v2/${repository}/blobs/uploads/`)).headers;
  const bytes = randomBytes(200_000);
  for (let at = 0; at < bytes.length; at += 10_000) {
    const patched = await client.request('PATCH', location ?? '', { body: bytes.subarray(at, at + 10_000) });
    assert.is(patched.status, 202);
    location = patched.headers.location;
  }
  const [upload = ''] = await readdir(join(folder, 'uploads'));
  assert.is((await readdir(join(folder, 'uploads', upload))).length, 1, 'one segment');
  const closed = await client.request('PUT', `${location}&digest=${sha256(bytes)}`);
  assert.is(closed.status, 201, closed.body.toString());
  assert.equal(await client.pullBlob(repository, sha256(bytes)), bytes);
});

test('eight pushes while a node is killed for good: every one of them succeeds at the first try', async () => {
  const push = async () => {
    const bytes = randomBytes(12_000_000);
    const begun = await client.request('POST', `/v2/${repository}/blobs/uploads/`);
    async function* slowly(): AsyncGenerator<Buffer> {
      for (let at = 0; at < bytes.length; at += 200_000) {
        yield bytes.subarray(at, at + 200_000);
        await sleep(20);
      }
    }
    const body = Readable.from(slowly(), { objectMode: false });
    const patched = await client.request('PATCH', begun.headers.location ?? '', { body });
    assert.is(patched.status, 202, patched.body.toString());
    const closed = await client.request('PUT', `${patched.headers.location}&digest=${sha256(bytes)}`);
    assert.is(closed.status, 201, closed.body.toString());
    return bytes;
  };
  const pushing = Array.from({ length: 8 }, push);
  await sleep(600);
  nodes[0]?.kill('SIGKILL');
  for (const bytes of await Promise.all(pushing)) {
    assert.ok((await client.pullBlob(repository, sha256(bytes))).equals(bytes));
  }
});

test('pulls go on as well, with one node left', async () => {
  const bytes = randomBytes(1_000_000);
  const digest = await client.pushBlob(repository, bytes);
  for (let count = 0; count < 20; count++) assert.ok((await client.pullBlob(repository, digest)).equals(bytes));
});

test.run();
