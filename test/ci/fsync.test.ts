/** A disk that fails to sync: errors injected into the system calls of a real storage-proxy. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as assert from 'uvu/assert';
import { digestOf } from '../../lib/oci/digest.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { collect, pattern, pieces } from '../support/bytes.js';
import { contentOf } from '../support/folder.js';
import { findCommand } from '../support/needs.js';
import { storeAt } from '../support/one-node.js';
import { rejects } from '../support/rejects.js';
import { startProxy } from '../support/storage-proxy.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('syncs that fail', { needs: ['strace'], timeoutMs: 60_000 });

/** Attaches strace to a process and has a system call fail until it is ended. */
async function inject(pid: number, what: string, path?: string): Promise<() => Promise<void>> {
  const strace: ChildProcess = spawn(
    findCommand('strace') ?? 'strace',
    ['-f', '-p', String(pid), '-e', 'trace=fsync', '-e', `inject=${what}`, ...(path ? ['-P', path] : [])],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const end = async () => {
    if (strace.exitCode !== null || strace.signalCode !== null) return;
    strace.kill('SIGINT');
    await once(strace, 'exit');
  };
  atEnd(end);
  const [said] = (await once(strace.stderr ?? strace, 'data')) as [Buffer];
  assert.match(String(said), 'attached');
  return end;
}

for (const [errno, reason] of [
  ['EIO', 'STORE_UNREACHABLE'],
  ['ENOSPC', 'DISK_FULL'],
] as const) {
  test(`${errno}: the upload fails, for good, and nothing becomes visible`, async () => {
    const folder = await temporaryFolder('fsync');
    const proxy = await startProxy({ folder });
    const stub = new StorageStub(...Security.local.dial(proxy.address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
    atEnd(() => stub.close());
    const store = storeAt(stub);
    const data = pattern(1_000_000, 1);
    const digest = digestOf(data);
    const upload = async () =>
      (await store.append((await store.begin({})).session, pieces(data, 100_000), () => {})).session;

    const session = await upload();
    const heal = await inject(proxy.pid, `fsync:error=${errno}`);
    await rejects(reason, () => store.commit(session, digest));
    assert.is(await store.stat(digest), undefined);
    const [item] = await store.writeBatch([{ digest, data }]);
    assert.is(item && 'error' in item ? item.error.reason : 'written', reason);
    await heal();
    // The system may have dropped the bytes and forgotten it: a second try must not succeed.
    await rejects('UPLOAD_UNKNOWN', () => store.commit(session, digest));
    assert.is(await store.stat(digest), undefined);
    assert.equal(await contentOf(folder), []);

    await store.commit(await upload(), digest);
    assert.ok((await collect((await store.read(digest, { offset: 0 })).bytes)).equals(data));
    await proxy.stop();
  });
}

test('a folder that cannot be synced fails the commit', async () => {
  const folder = await temporaryFolder('fsync');
  const proxy = await startProxy({ folder });
  const stub = new StorageStub(...Security.local.dial(proxy.address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
  atEnd(() => stub.close());
  const store = storeAt(stub);
  const data = pattern(1_000_000, 2);
  const { session } = await store.append((await store.begin({})).session, pieces(data, 100_000), () => {});
  const heal = await inject(proxy.pid, 'fsync:error=EIO', folder);
  await rejects('STORE_UNREACHABLE', () => store.commit(session, digestOf(data)));
  await heal();
  assert.is(await store.stat(digestOf(data)), undefined);
  await proxy.stop();
});

test.run();
