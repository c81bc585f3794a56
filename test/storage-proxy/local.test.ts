/** What is particular to LocalStorage: its folder, its marker, its errors. The rest is in test/contract. */
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rename, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { digestOf, hexOf } from '../../lib/oci/digest.js';
import { StatusError } from '../../lib/rpc/errors.js';
import type { Checkpoint } from '../../storage-proxy/engines/engine.js';
import { LocalStorage } from '../../storage-proxy/engines/local.js';
import { createEngine } from '../../storage-proxy/engines/registry.js';
import { sweepOnce } from '../../storage-proxy/service/sweep.js';
import { blobFile } from '../support/blob-file.js';
import { collect, pattern, pieces } from '../support/bytes.js';
import { contentOf } from '../support/folder.js';
import { rejects } from '../support/rejects.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('LocalStorage');
const log = pino({ level: 'silent' });
const forever = new AbortController().signal;
const nothing = () => {};

async function put(store: LocalStorage, data: Buffer) {
  const digest = digestOf(data);
  const { session } = await store.begin({ digest });
  await store.commit((await store.append(session, pieces(data, 1000), nothing)).session, digest);
  return digest;
}

test('arguments are checked, named, and never repeated', () => {
  const complaint = (driver: string, values: Record<string, unknown>) => {
    try {
      createEngine({ name: 'us', driver, arguments: values });
    } catch (error) {
      return (error as Error).message;
    }
    return 'none';
  };
  assert.is(complaint('LocalStorage', { storage_path: '/x', shared_filesystem: true }), 'none');
  assert.match(complaint('LocalStorage', {}), 'DISTRIBUTED_STORAGE_CONFIG.us.storage_path');
  assert.match(complaint('LocalStorage', { storage_path: '' }), 'DISTRIBUTED_STORAGE_CONFIG.us.storage_path');
  const unknown = complaint('LocalStorage', { storage_path: '/x', s3_secret_key: 'hunter2' });
  assert.match(unknown, 's3_secret_key');
  assert.not.match(unknown, 'hunter2');
  assert.match(complaint('SwiftStorage', { swift_password: 'hunter2' }), /SwiftStorage is not supported yet/);
  assert.match(complaint('FloppyStorage', {}), /FloppyStorage is not known/);
  assert.match(complaint('constructor', {}), /not known/);
});

test('blobs lie where Quay puts them', async () => {
  const root = await temporaryFolder();
  const data = Buffer.from('hello');
  const hex = hexOf(await put(new LocalStorage({ storage_path: root }), data));
  assert.equal(await contentOf(root), [`sha256/${hex.slice(0, 2)}/${hex}`]);
  assert.ok((await readFile(join(root, 'sha256', hex.slice(0, 2), hex))).equals(data));
});

test('foreign files are passed over, and left alone', async () => {
  const root = await temporaryFolder();
  const store = new LocalStorage({ storage_path: root });
  const digest = await put(store, Buffer.from('ours'));
  const hex = hexOf(digest);
  const foreign = [
    'README',
    '_verify',
    'sha256/README',
    'sha256/zz/strange',
    `sha256/${hex.slice(0, 2)}/${hex}.tmp`,
    `sha256/${hex.slice(0, 2)}/${hex.toUpperCase()}0`,
    `sha256/${hex.slice(0, 2) === '00' ? '01' : '00'}/${hex}`,
    'uploads/0b2d7e6e-8c0f-4f3b-9d4e-1f2a3b4c5d6e',
    'uploads/notes/todo',
    'sharedimages/1/layer',
  ];
  for (const file of foreign) {
    await mkdir(join(root, file, '..'), { recursive: true });
    await writeFile(join(root, file), 'not ours');
    await utimes(join(root, file), 1, 1);
  }
  const listed = [];
  for await (const entry of store.list(undefined)) listed.push(entry.digest);
  assert.equal(listed, [digest]);
  await sweepOnce(store, log, Date.now() + 1000, forever);
  await store.probe();
  for (const file of foreign) assert.is(await readFile(join(root, file), 'utf8'), 'not ours');
});

test('nodes that probe a new store at once agree on its identity', async () => {
  const root = await temporaryFolder();
  const probes = await Promise.all(Array.from({ length: 20 }, () => new LocalStorage({ storage_path: root }).probe()));
  const ids = new Set(probes.map(({ locationId }) => locationId));
  assert.is(ids.size, 1);
  assert.match([...ids][0] ?? '', /^[0-9a-f-]{36}$/);
  assert.ok(probes.every(({ readError, writeError }) => !readError && !writeError));
  assert.equal(await contentOf(root), [], 'a probe leaves nothing');
  assert.is((await new LocalStorage({ storage_path: root }).probe()).locationId, [...ids][0], 'and it stays');
});

test('a damaged marker is not replaced', async () => {
  const root = await temporaryFolder();
  await writeFile(join(root, '.entrepot-location'), 'garbage');
  const { locationId, readError } = await new LocalStorage({ storage_path: root }).probe();
  assert.is(locationId, undefined);
  assert.match(readError?.message ?? '', 'damaged');
  assert.is(await readFile(join(root, '.entrepot-location'), 'utf8'), 'garbage');
});

test('a folder that is not there is out of reach, not empty, and is not made', async () => {
  const root = join(await temporaryFolder(), 'disk');
  const store = new LocalStorage({ storage_path: root });
  const digest = digestOf(Buffer.from('x'));
  const { locationId, readError, writeError } = await store.probe();
  assert.is(locationId, undefined);
  assert.ok(readError instanceof StatusError && readError.reason === 'STORE_UNREACHABLE');
  assert.ok(writeError);
  await rejects('STORE_UNREACHABLE', () => store.stat(digest));
  await rejects('STORE_UNREACHABLE', () => store.read(digest, { offset: 0 }));
  await rejects('STORE_UNREACHABLE', () => store.remove(digest));
  await rejects('STORE_UNREACHABLE', () => store.begin({}));
  await rejects('STORE_UNREACHABLE', async () => {
    for await (const _ of store.list(undefined));
  });
  await rejects('STORE_UNREACHABLE', async () => {
    for await (const _ of store.staleUploads(Date.now()));
  });
  await mkdir(root);
  const { session } = await store.append((await store.begin({})).session, pieces(Buffer.from('x'), 1), nothing);
  await rename(root, `${root}.away`);
  for (const work of [
    () => store.append(session, pieces(Buffer.from('x'), 1), nothing),
    () => store.commit(session, digest),
    () => store.abort(session),
  ]) {
    try {
      await work();
      assert.unreachable('the folder is gone');
    } catch (error) {
      assert.ok(error instanceof StatusError);
      assert.is(error.reason, 'STORE_UNREACHABLE');
      assert.not.match(error.message, root);
    }
  }
  await rejects('ENOENT', () => stat(root).catch(error => Promise.reject(new Error(error.code))));
});

test('a blob that was damaged is healed by pushing it again', async () => {
  const root = await temporaryFolder();
  const store = new LocalStorage({ storage_path: root });
  const data = pattern(100_000, 1);
  const digest = await put(store, data);
  const file = blobFile(root, digest);
  await writeFile(file, pattern(100_000, 2));
  await put(store, data);
  assert.ok((await readFile(file)).equals(data));
});

test('a blob that is shorter than it was is corrupt', async () => {
  const root = await temporaryFolder();
  const store = new LocalStorage({ storage_path: root });
  const digest = await put(store, pattern(3_000_000, 1));
  const file = blobFile(root, digest);
  const before = await store.read(digest, { offset: 0 });
  const during = (await store.read(digest, { offset: 0 })).bytes[Symbol.asyncIterator]();
  await during.next();
  await truncate(file, 1_000_000);
  await rejects('CORRUPT', () => collect(before.bytes));
  await rejects('CORRUPT', () => collect({ [Symbol.asyncIterator]: () => during }));
  const removed = await store.read(digest, { offset: 0 });
  await rm(file);
  await rejects('BLOB_UNKNOWN', () => collect(removed.bytes));
});

test('stale uploads are swept up, fresh ones are not', async () => {
  const root = await temporaryFolder();
  const store = new LocalStorage({ storage_path: root });
  const data = pattern(10_000, 1);
  const begin = async () => (await store.append((await store.begin({})).session, pieces(data, 1000), nothing)).session;
  await begin();
  await store.begin({});
  for (const name of await contentOf(root)) await utimes(join(root, name), 1000, 1000);
  const fresh = await begin();
  // Killed while it was being removed.
  await mkdir(join(root, 'uploads/0b2d7e6e-8c0f-4f3b-9d4e-1f2a3b4c5d6e.0123456789ab'));
  await utimes(join(root, 'uploads/0b2d7e6e-8c0f-4f3b-9d4e-1f2a3b4c5d6e.0123456789ab'), 1000, 1000);
  await sweepOnce(store, log, Date.now() - 3_600_000, forever);
  assert.is((await contentOf(root)).length, 2, 'the fresh one’s folder and file');
  await store.commit(fresh, digestOf(data));
});

test('a stale upload that cannot be removed does not keep the others', async () => {
  const store = new LocalStorage({ storage_path: await temporaryFolder() });
  for (let i = 0; i < 3; i++) await store.begin({});
  const tried: string[] = [];
  store.abort = async session => {
    tried.push(session.toString());
    throw new Error('stuck');
  };
  await sweepOnce(store, log, Date.now() + 1000, forever);
  assert.is(new Set(tried).size, 3);
});

test('an upload of very many segments keeps its session short', async () => {
  const root = await temporaryFolder();
  const data = pattern(1_040 * 100, 1);
  let session = (await new LocalStorage({ storage_path: root }).begin({})).session;
  let longest = 0;
  for (let at = 0; at < data.length; at += 100) {
    // A new engine each time: as if each chunk came to another node.
    const node = new LocalStorage({ storage_path: root });
    session = (await node.append(session, pieces(data.subarray(at, at + 100), 100), nothing)).session;
    longest = Math.max(longest, session.length);
  }
  assert.ok(longest < 32 * 1024, `${longest} bytes`);
  const store = new LocalStorage({ storage_path: root });
  assert.is(await store.commit(session, digestOf(data)), data.length);
  assert.ok((await collect((await store.read(digestOf(data), { offset: 0 })).bytes)).equals(data));
});

test('bytes that were lost with the power are not gone on with', async () => {
  const root = await temporaryFolder();
  const store = new LocalStorage({ storage_path: root });
  const data = pattern(10_000, 1);
  const { session } = await store.append((await store.begin({})).session, pieces(data, 1000), nothing);
  const file = (await contentOf(root)).find(path => path.split('/').length === 3) ?? '';
  await truncate(join(root, file), 9_999);
  for (const node of [store, new LocalStorage({ storage_path: root })]) {
    await rejects('UPLOAD_UNKNOWN', () => node.append(session, pieces(data, 1000), nothing));
    await rejects('UPLOAD_UNKNOWN', () => node.commit(session, digestOf(data)));
  }
});

test('sessions that were tampered with are refused', async () => {
  const root = await temporaryFolder();
  const store = new LocalStorage({ storage_path: root });
  const { session } = await store.append((await store.begin({})).session, pieces(Buffer.from('x'), 1), nothing);
  const [version, name, algorithm, segments] = JSON.parse(session.toString()) as [
    number,
    string,
    string,
    [string, number][],
  ];
  const tricks: unknown[] = [
    'garbage',
    null,
    {},
    [],
    [2, name, algorithm, segments],
    [version, '../../etc', algorithm, segments],
    [version, `${name}/..`, algorithm, segments],
    [version, '', algorithm, segments],
    [version, name, 'md5', segments],
    [version, name, '__proto__', segments],
    [version, name, algorithm, [['../../../../etc/passwd', 1]]],
    [version, name, algorithm, [['..', 1]]],
    [version, name, algorithm, [[segments[0]?.[0], -1]]],
    [version, name, algorithm, [[segments[0]?.[0], 0.5]]],
    [version, name, algorithm, [[segments[0]?.[0], '1']]],
    [version, name, algorithm, Array.from({ length: 501 }, () => segments[0])],
    [version, name, algorithm, Array.from({ length: 2 }, () => [segments[0]?.[0], Number.MAX_SAFE_INTEGER])],
    [version, name, algorithm, segments, 'more'],
  ];
  for (const trick of tricks) {
    const bytes = Buffer.from(trick === 'garbage' ? 'garbage' : JSON.stringify(trick));
    await rejects('MALFORMED', () => store.append(bytes, pieces(Buffer.from('y'), 1), nothing));
    await rejects('MALFORMED', () => store.commit(bytes, digestOf(Buffer.from('x'))));
    await rejects('MALFORMED', () => store.abort(bytes));
  }
  await store.commit(session, digestOf(Buffer.from('x')));
});

/** A file system of a few MiB. Needs root, and a kernel that lets it mount. */
function smallDisk(folder: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', folder], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const FULL = 'a full disk refuses writes, keeps what was acknowledged, and can be read';
const canMount = process.getuid?.() === 0;
if (!canMount) test.skip(`${FULL} (needs root)`);
else {
  test(FULL, async () => {
    const root = await temporaryFolder('full');
    assert.ok(smallDisk(root), 'root can mount a tmpfs');
    atEnd(() => void execFileSync('umount', ['-l', root]));
    const store = new LocalStorage({ storage_path: root });
    await store.probe();
    const small = await put(store, Buffer.from('small'));
    const data = pattern(20 * 1024 * 1024, 1);
    const checkpoints: Checkpoint[] = [];
    const { session } = await store.begin({});
    await rejects('DISK_FULL', () =>
      store.append(session, pieces(data, 100_000), checkpoint => checkpoints.push(checkpoint)),
    );
    const from = checkpoints.at(-1);
    assert.ok(from && from.offset >= 8 * 1024 * 1024, 'what fitted before was acknowledged');
    // What was not acknowledged is given back, so there is room again until somebody fills it.
    await writeFile(join(root, 'filler'), Buffer.alloc(16 * 1024 * 1024)).catch(() => {});
    const full = await store.probe();
    assert.is(full.readError, undefined);
    assert.ok(full.writeError instanceof StatusError && full.writeError.reason === 'DISK_FULL');
    assert.ok((await collect((await store.read(small, { offset: 0 })).bytes)).equals(Buffer.from('small')));
    await rm(join(root, 'filler'));
    assert.is((await store.probe()).writeError, undefined);
    const whole = data.subarray(0, from.offset + 1000);
    const done = await store.append(from.session, pieces(whole.subarray(from.offset), 100), nothing);
    await store.commit(done.session, digestOf(whole));
    assert.is(await store.stat(digestOf(whole)), whole.length);
  });
}

test.run();
