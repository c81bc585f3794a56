/** A storage-proxy as a process: what it says about itself, how it watches its store, how it ends, what it holds. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import * as assert from 'uvu/assert';
import type { RemoteStore } from '../../lib/locations/store.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { callMetadata } from '../../lib/rpc/call.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { messageWriter, readMessages } from '../../lib/rpc/stream.js';
import { pattern, pieces } from '../support/bytes.js';
import { memoryOf, openFilesOf } from '../support/folder.js';
import { storeAt } from '../support/one-node.js';
import { rejects } from '../support/rejects.js';
import { type StorageProxy, startProxy } from '../support/storage-proxy.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { finished, soon } from '../support/wait.js';

const test = suite('storage-proxy process', { timeoutMs: 60_000 });
const MIB = 1024 * 1024;
const NAMES = ['entrepot.storage.read', 'entrepot.storage.write'] as const;

function connect(proxy: StorageProxy) {
  const stub = new StorageStub(...Security.local.dial(proxy.address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
  atEnd(() => stub.close());
  return { stub, store: storeAt(stub) };
}

async function put(store: RemoteStore, data: Buffer): Promise<Digest> {
  const digest = digestOf(data);
  const { session } = await store.begin({ digest });
  await store.commit((await store.append(session, pieces(data, MIB), () => {})).session, digest);
  return digest;
}

const health = (proxy: StorageProxy) => Promise.all(NAMES.map(name => checkHealth(proxy.address, name, 10_000)));

test('a node says who it is, by description, health and reflection', async () => {
  const proxy = await startProxy({ folder: await temporaryFolder() });
  const { store } = connect(proxy);
  const { location, locationId, engine, version, congestionControl, maxAppendBytes } = await store.describe();
  assert.equal([location, engine], ['usstorage', 'LocalStorage']);
  assert.match(locationId, /^[0-9a-f-]{36}$/);
  assert.match(version, /^\d+\.\d+\.\d+/);
  const own = await readFile('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').catch(() => '');
  assert.is(congestionControl, own.trim());
  assert.is(maxAppendBytes, 512 * 1024);
  assert.equal(await health(proxy), [true, true]);
  assert.not.ok(await checkHealth(proxy.address, 'entrepot.storage.dance', 10_000));
  assert.equal(await reflect(proxy.address), ['entrepot.storage.v1.Storage', 'grpc.health.v1.Health']);
  await proxy.stop();
  const { code } = await proxy.exited;
  assert.is(code, 0, proxy.log());
});

test('a store that comes, goes, and comes back as another one', async () => {
  const folder = join(await temporaryFolder(), 'disk');
  const proxy = await startProxy({ folder, untilWritable: false });
  const { store } = connect(proxy);
  assert.equal(await health(proxy), [false, false], 'a store that is not there');
  await rejects('STORE_UNREACHABLE', () => store.describe());
  await mkdir(folder);
  await soon('the store is noticed', async () => assert.equal(await health(proxy), [true, true]), 15_000);
  await store.describe();
  const { session } = await store.begin({});
  const digest = await put(store, Buffer.from('x'));
  await rename(folder, `${folder}.away`);
  await mkdir(folder);
  await writeFile(join(folder, '.entrepot-location'), '0b2d7e6e-8c0f-4f3b-9d4e-1f2a3b4c5d6e\n');
  await soon('the exchange is noticed', async () => assert.equal(await health(proxy), [false, false]), 15_000);
  assert.match(proxy.log(), 'THE STORE WAS EXCHANGED');
  await rejects('STORE_UNREACHABLE', () => store.describe());
  await rejects('STORE_UNREACHABLE', () => store.begin({}));
  await rejects('STORE_UNREACHABLE', () => store.append(session, (async function* () {})(), () => {}));
  await rejects('STORE_UNREACHABLE', () => store.stat(digest));
  await rejects('STORE_UNREACHABLE', () => store.read(digest, { offset: 0 }));
  await proxy.stop();
});

test('on SIGTERM a running read and a running append finish, what comes meanwhile is taken, and then nothing', async () => {
  const folder = await temporaryFolder();
  const proxy = await startProxy({ folder });
  const { stub, store } = connect(proxy);
  const data = pattern(30 * MIB, 1);
  const digest = await put(store, data);

  const reading = readMessages<{ data: Buffer }>(stub.readBlob({ digest }));
  const read = [(await reading.next()).value?.data ?? Buffer.alloc(0)];
  const { session } = await store.begin({});
  const call = stub.appendUpload();
  const writer = messageWriter(call);
  await writer.write({ header: { session } });
  await writer.write({ data: data.subarray(0, 100) });
  await soon('both have begun', async () => assert.is((await openFilesOf(proxy.pid, folder)).length, 2));

  proxy.kill('SIGTERM');
  await soon('it says so', async () => assert.match(proxy.log(), 'stopping'));
  assert.is(await connect(proxy).store.stat(digest), data.length);
  for await (const message of reading) read.push(message.data);
  assert.ok(Buffer.concat(read).equals(data), 'the read was complete');
  await writer.write({ data: data.subarray(100, 200) });
  writer.end();
  const offsets: number[] = [];
  for await (const { offset } of readMessages<{ offset: number }>(call)) offsets.push(offset);
  assert.is(offsets.at(-1), 200, 'the append was complete');
  assert.is((await finished(proxy.exited, 15_000)).code, 0, proxy.log());
  await rejects(['UNAVAILABLE', 'DEADLINE_EXCEEDED'], () => connect(proxy).store.stat(digest));
});

test('readers that pause cost little memory, each', async () => {
  const folder = await temporaryFolder();
  const proxy = await startProxy({ folder });
  const { stub, store } = connect(proxy);
  const digest = await put(store, pattern(30 * MIB, 1));
  const before = await memoryOf(proxy.pid);
  const groups = [
    { name: '100 on one connection', stubs: Array.from({ length: 100 }, () => stub) },
    // On connections of their own: on one, its window would bound them all.
    { name: '100 more on 100 connections', stubs: Array.from({ length: 100 }, () => connect(proxy).stub) },
  ];
  const readers: AsyncGenerator[] = [];
  try {
    for (const { name, stubs } of groups) {
      const group = stubs.map(each => readMessages(each.readBlob({ digest }, callMetadata({}))));
      readers.push(...group);
      await Promise.all(group.map(reader => reader.next()));
      const open = readers.length;
      await soon('all are open', async () => assert.is((await openFilesOf(proxy.pid, folder)).length, open));
      const grown = ((await memoryOf(proxy.pid)) - before) / MIB;
      console.log(`  ${name}: + ${grown.toFixed(0)} MiB`);
      // What each may hold is bounded: two pieces, two copies of a frame, and what waits in its socket; V8 keeps some more
      // until it has to collect.
      assert.ok(grown < 1.5 * open, `${grown.toFixed(0)} MiB for ${open} readers`);
    }
  } finally {
    await Promise.allSettled(readers.map(reader => reader.return(undefined)));
  }
  await soon('all are closed', async () => assert.equal(await openFilesOf(proxy.pid, folder), []));
  await proxy.stop();
});

/** The services that a server names to tools like grpcurl. */
async function reflect(address: string): Promise<string[]> {
  const file = new URL(
    '../../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto',
    import.meta.url,
  );
  const loaded = loadPackageDefinition(loadSync(file.pathname)) as unknown as {
    grpc: { reflection: { v1: { ServerReflection: typeof Client } } };
  };
  const client = new loaded.grpc.reflection.v1.ServerReflection(address, credentials.createInsecure()) as Client & {
    ServerReflectionInfo(): Parameters<typeof messageWriter>[0] & Parameters<typeof readMessages>[0];
  };
  try {
    const call = client.ServerReflectionInfo();
    const writer = messageWriter<{ listServices: string }>(call);
    await writer.write({ listServices: '' });
    writer.end();
    const answers = readMessages<{ listServicesResponse: { service: { name: string }[] } }>(call);
    for await (const { listServicesResponse } of answers)
      return listServicesResponse.service.map(each => each.name).sort();
    return [];
  } finally {
    client.close();
  }
}

test.run();
