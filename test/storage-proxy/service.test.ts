/** The storage service of a real process: what it refuses, what it answers beside the contract, and how it ends. */
import { writeFile } from 'node:fs/promises';
import * as assert from 'uvu/assert';
import type { RemoteStore } from '../../lib/locations/store.js';
import { digestOf } from '../../lib/oci/digest.js';
import { callUnary } from '../../lib/rpc/call.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { hasReason } from '../../lib/rpc/errors.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { messageWriter, readMessages } from '../../lib/rpc/stream.js';
import type { AppendUploadRequest } from '../../proto/generated/entrepot/storage/v1/AppendUploadRequest.js';
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { MAX_APPEND_BYTES } from '../../storage-proxy/service/uploads.js';
import { blobFile } from '../support/blob-file.js';
import { pattern, pieces } from '../support/bytes.js';
import { contentOf } from '../support/folder.js';
import { storeAt } from '../support/one-node.js';
import { rejects } from '../support/rejects.js';
import { type StorageProxy, startProxy } from '../support/storage-proxy.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('storage service');
const MIB = 1024 * 1024;
let folder: string;
let proxy: StorageProxy;
let stub: StorageClient;
let store: RemoteStore;

test.before(async () => {
  folder = await temporaryFolder('service');
  proxy = await startProxy({ folder });
  stub = new StorageStub(...Security.local.dial(proxy.address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
  store = storeAt(stub);
});
test.after(async () => {
  stub.close();
  await proxy.stop();
});
test.after.each(() => assert.ok(proxy.isRunning(), proxy.log()));

const digest = digestOf(Buffer.from('hello'));
const NOT_DIGESTS = [
  '',
  'hello',
  'sha256:',
  `sha256:${'0'.repeat(63)}`,
  `sha256:${'0'.repeat(65)}`,
  `SHA256:${'0'.repeat(64)}`,
  `sha256:${'A'.repeat(64)}`,
  `sha512:${'0'.repeat(64)}`,
  `md5:${'0'.repeat(32)}`,
  `sha256:../${'0'.repeat(61)}`,
  '../../../../etc/passwd',
  'sha256:/../../../etc/passwd',
  `${digest}\n`,
  `${digest}\0`,
  'x'.repeat(100_000),
];

/** Makes a call that streams answers, and drains them. */
async function drain(call: Parameters<typeof readMessages>[0]): Promise<void> {
  for await (const _ of readMessages(call));
}

async function append(messages: AppendUploadRequest[]): Promise<void> {
  const call = stub.appendUpload();
  const writer = messageWriter<AppendUploadRequest>(call);
  for (const message of messages) await writer.write(message);
  writer.end();
  await drain(call);
}

test('a digest is refused wherever it is not one', async () => {
  const { session } = await store.begin({});
  for (const bad of NOT_DIGESTS) {
    const digests = [digest, bad];
    await rejects('MALFORMED', () => callUnary(stub.statBlob.bind(stub), { digest: bad }));
    await rejects('MALFORMED', () => callUnary(stub.findMissingBlobs.bind(stub), { digests }));
    await rejects('MALFORMED', () => drain(stub.readBlob({ digest: bad })));
    await rejects('MALFORMED', () => callUnary(stub.batchReadBlobs.bind(stub), { digests }));
    await rejects('MALFORMED', () => callUnary(stub.batchWriteBlobs.bind(stub), { blobs: [{ digest: bad }] }));
    await rejects('MALFORMED', () => callUnary(stub.commitUpload.bind(stub), { session, digest: bad }));
    await rejects('MALFORMED', () => callUnary(stub.deleteBlobs.bind(stub), { digests }));
    await rejects('MALFORMED', () => callUnary(stub.verifyBlob.bind(stub), { digest: bad }));
    await rejects('MALFORMED', () => callUnary(stub.signUrl.bind(stub), { digest: bad, ttlSeconds: 1 }));
    if (bad === '') continue; // stands for none in these
    await rejects('MALFORMED', () => callUnary(stub.startUpload.bind(stub), { digest: bad }));
    await rejects('MALFORMED', () => drain(stub.listBlobs({ after: bad })));
  }
  await store.abort(session);
  assert.equal(await contentOf(folder), []);
});

test('sizes, counts and bytes beyond what is documented are refused', async () => {
  const many = Array.from({ length: 1001 }, () => digest);
  const calls = [
    (digests: string[]) => callUnary(stub.findMissingBlobs.bind(stub), { digests }),
    (digests: string[]) => callUnary(stub.batchReadBlobs.bind(stub), { digests }),
    (digests: string[]) => callUnary(stub.deleteBlobs.bind(stub), { digests }),
  ];
  for (const call of calls) {
    await rejects('MALFORMED', () => call(many));
    await call(many.slice(1));
  }
  await rejects('MALFORMED', () =>
    callUnary(stub.batchWriteBlobs.bind(stub), { blobs: many.map(each => ({ digest: each })) }),
  );
  const large = pattern(MIB + 1, 1);
  await rejects('MALFORMED', () =>
    callUnary(stub.batchWriteBlobs.bind(stub), { blobs: [{ digest: digestOf(large), data: large }] }),
  );
  const four = [1, 2, 3, 4].map(seed => pattern(800 * 1024, seed)).map(data => ({ digest: digestOf(data), data }));
  await rejects('MALFORMED', () => callUnary(stub.batchWriteBlobs.bind(stub), { blobs: four }));
  const five = [1, 2, 3, 4, 5].map(seed => pattern(MIB, seed)).map(data => ({ digest: digestOf(data), data }));
  await rejects('RESOURCE_EXHAUSTED', () => callUnary(stub.batchWriteBlobs.bind(stub), { blobs: five }));
  for (const range of [{ offset: -1 }, { limit: -1 }, { offset: 2 ** 60 }, { limit: -(2 ** 53) }]) {
    await rejects('MALFORMED', () => drain(stub.readBlob({ digest, ...range })));
  }
  for (const ttlSeconds of [0, -1, 86_401, 2 ** 31 - 1])
    await rejects('MALFORMED', () => callUnary(stub.signUrl.bind(stub), { digest, ttlSeconds }));
  await rejects('UNSUPPORTED', () => callUnary(stub.signUrl.bind(stub), { digest, ttlSeconds: 60 }));
  await rejects('MALFORMED', () => callUnary(stub.startUpload.bind(stub), { algorithm: 'md5' }));
  await rejects('MALFORMED', () => callUnary(stub.startUpload.bind(stub), { algorithm: 'toString' }));
  assert.equal(await contentOf(folder), []);
});

test('sessions that are not ours are refused, and offsets that are not theirs', async () => {
  const strange = [
    Buffer.alloc(0),
    Buffer.from('x'),
    Buffer.alloc(9, 1),
    Buffer.alloc(64 * 1024 + 1, 1),
    Buffer.concat([Buffer.from([1, 255, 255, 255, 255, 255, 255, 255, 255]), Buffer.from('[]')]),
    Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('[1,"../../etc","sha256",[]]')]),
  ];
  for (const session of strange) {
    await rejects('MALFORMED', () => callUnary(stub.commitUpload.bind(stub), { session, digest }));
    await rejects('MALFORMED', () => callUnary(stub.abortUpload.bind(stub), { session }));
    await rejects('MALFORMED', () => callUnary(stub.findCheckpoint.bind(stub), { session }));
    await rejects('MALFORMED', () => append([{ header: { session } }]));
  }
  const { session } = await store.begin({});
  await rejects('OFFSET', () => append([{ header: { session, offset: 1 } }, { data: Buffer.from('x') }]));
  await rejects('MALFORMED', () => append([{ header: { session, offset: -1 } }]));
  await append([{ header: { session, offset: 0 } }, { data: Buffer.from('x') }]);
  await store.abort(session);
  const gone = await callUnary(stub.startUpload.bind(stub), {});
  await store.abort(gone.session);
  await rejects('UPLOAD_UNKNOWN', () => append([{ header: { session: gone.session } }, { data: Buffer.from('x') }]));
});

test('who knows an old checkpoint of an upload is told the newest one, and goes on from there', async () => {
  const data = pattern(3 * MIB, 5);
  const begun = await store.begin({});
  assert.equal(await store.newestCheckpoint(begun), begun, 'there is none yet');
  const other = await store.begin({});
  const one = await store.append(begun.session, pieces(data.subarray(0, MIB), 100_000), () => {});
  const two = await store.append(one.session, pieces(data.subarray(MIB, 2 * MIB), 100_000), () => {});
  for (const known of [begun, one, two]) assert.equal(await store.newestCheckpoint(known), two);
  assert.equal(await store.newestCheckpoint(other), other, 'another upload is none of its business');
  // One who still writes where the first left off takes nothing from it.
  await store.append(begun.session, pieces(data.subarray(0, 10), 10), () => {});
  assert.equal(await store.newestCheckpoint(begun), two);
  const last = await store.append(
    (await store.newestCheckpoint(one)).session,
    pieces(data.subarray(2 * MIB), 100_000),
    () => {},
  );
  await store.commit(last.session, digestOf(data));
  assert.equal(await store.newestCheckpoint(begun), begun, 'it is over');
  await store.remove(digestOf(data));
  await store.abort(other.session);
});

test('an append is a header and then data', async () => {
  const { session } = await store.begin({});
  await rejects('MALFORMED', () => append([]));
  await rejects('MALFORMED', () => append([{}]));
  await rejects('MALFORMED', () => append([{ data: Buffer.from('x') }]));
  await rejects('MALFORMED', () => append([{ header: { session } }, { header: { session } }]));
  await rejects('MALFORMED', () => append([{ header: { session } }, {}]));
  await rejects('MALFORMED', () => append([{ header: { session } }, { data: Buffer.alloc(MAX_APPEND_BYTES + 1) }]));
  await append([{ header: { session } }, { data: Buffer.alloc(0) }, { data: Buffer.alloc(MAX_APPEND_BYTES) }]);
  await store.abort(session);
});

test('a batch has an outcome for each of its blobs', async () => {
  const data = [Buffer.alloc(0), Buffer.from('a'), pattern(MIB, 1), pattern(1000, 2)];
  const blobs = data.map(each => ({ digest: digestOf(each), data: each }));
  const liar = { digest: digestOf(Buffer.from('truth')), data: Buffer.from('lie') };
  const written = await store.writeBatch([...blobs, liar, ...blobs.slice(0, 1)]);
  assert.equal(
    written.map(item => ('error' in item ? item.error.reason : 'ok')),
    ['ok', 'ok', 'ok', 'ok', 'DIGEST_MISMATCH', 'ok'],
  );
  const read = await store.readBatch([liar.digest, ...blobs.map(blob => blob.digest)]);
  assert.ok(read[0] && 'error' in read[0] && hasReason(read[0].error, 'BLOB_UNKNOWN'));
  for (const [i, each] of data.entries()) {
    const item = read[i + 1];
    assert.ok(item && 'value' in item && item.value.equals(each));
  }
  assert.equal(await store.findMissing([liar.digest, digestOf(Buffer.from('a')), digest]), [liar.digest, digest]);
  for (const blob of blobs) await store.remove(blob.digest);
  assert.equal(await contentOf(folder), []);
});

test('a batch that is too large to be answered says which blobs to ask for again', async () => {
  const data = [1, 2, 3, 4].map(seed => pattern(900 * 1024, seed));
  for (const each of data) await store.writeBatch([{ digest: digestOf(each), data: each }]);
  const large = pattern(MIB + 1, 9);
  const { session } = await store.begin({});
  await store.commit((await store.append(session, pieces(large, 100_000), () => {})).session, digestOf(large));
  const all = [large, ...data].map(each => digestOf(each));
  const outcomes = (await store.readBatch(all)).map(item => ('error' in item ? item.error.reason : item.value.length));
  assert.equal(outcomes, ['TOO_LARGE', 900 * 1024, 900 * 1024, 900 * 1024, 'TOO_LARGE']);
  for (const each of all) await store.remove(each);
});

test('many small blobs are written and listed in pages', async () => {
  const blobs = Array.from({ length: 2100 }, (_, i) => Buffer.from(`blob ${i}`)).map(data => ({
    digest: digestOf(data),
    data,
  }));
  const began = performance.now();
  for (let at = 0; at < blobs.length; at += 700) {
    const results = await store.writeBatch(blobs.slice(at, at + 700));
    assert.ok(results.every(item => !('error' in item)));
  }
  console.log(
    `  ${blobs.length} blobs written in batches: ${Math.round(blobs.length / ((performance.now() - began) / 1000))} a second`,
  );
  const pages: number[] = [];
  const listed: string[] = [];
  for await (const page of readMessages<{ blobs: { digest: string }[] }>(stub.listBlobs({}))) {
    pages.push(page.blobs.length);
    listed.push(...page.blobs.map(blob => blob.digest));
  }
  assert.equal(pages, [1000, 1000, 100]);
  assert.equal(listed, blobs.map(blob => blob.digest).sort());
  for (let at = 0; at < blobs.length; at += 1000) {
    await callUnary(stub.deleteBlobs.bind(stub), { digests: blobs.slice(at, at + 1000).map(blob => blob.digest) });
  }
  assert.equal(await contentOf(folder), []);
});

test('a damaged blob is found by verifying it', async () => {
  const data = pattern(2 * MIB, 1);
  const whole = digestOf(data);
  const { session } = await store.begin({ digest: whole });
  await store.commit((await store.append(session, pieces(data, 100_000), () => {})).session, whole);
  assert.is(await store.verify(whole), data.length);
  data.writeUInt8(data.readUInt8(MIB) ^ 1, MIB);
  await writeFile(blobFile(folder, whole), data);
  await rejects('CORRUPT', () => store.verify(whole));
  await store.remove(whole);
  await rejects('BLOB_UNKNOWN', () => store.verify(whole));
});

test('a blob without bytes is one message with its size', async () => {
  const empty = digestOf(Buffer.alloc(0));
  await store.writeBatch([{ digest: empty, data: Buffer.alloc(0) }]);
  const messages: { size: number; data: Buffer }[] = [];
  for await (const message of readMessages<{ size: number; data: Buffer }>(stub.readBlob({ digest: empty }))) {
    messages.push(message);
  }
  assert.is(messages.length, 1);
  assert.is(messages[0]?.size, 0);
  assert.is(messages[0]?.data.length, 0);
  await store.remove(empty);
});

test('reads in turn come one after another over a connection, and none waits for one that is not taken', async () => {
  const data = pattern(8 * MIB, 3);
  const blob = digestOf(data);
  const upload = await store.begin({ digest: blob });
  const { session } = await store.append(upload.session, pieces(data, MIB), () => {});
  await store.commit(session, blob);
  // As much fits into a stream's window: the call is over for the node although nobody has taken its bytes.
  const SMALL = 300_000;
  const read = (from: StorageClient, limit: number, inTurn: boolean) =>
    readMessages<{ size: number; data: Buffer }>(from.readBlob({ digest: blob, limit, inTurn }));
  /** The first message of a call that asks in turn is here at once, without bytes. */
  const opened = async (from: StorageClient, limit: number) => {
    const messages = read(from, limit, true);
    const { value } = await messages.next();
    assert.equal([value?.size, value?.data.length], [data.length, 0]);
    return messages;
  };
  const timed = async (messages: AsyncGenerator<{ data: Buffer }>) => {
    const since = performance.now();
    const got: Buffer[] = [];
    for await (const { data } of messages) got.push(data);
    return { ms: performance.now() - since, bytes: Buffer.concat(got) };
  };
  const stuck = await opened(stub, 0);
  const behind = timed(await opened(stub, SMALL));
  // What shares the connection does not wait, nor does another connection.
  const shared = timed(read(stub, SMALL, false));
  const other = new StorageStub(...Security.local.dial(proxy.address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
  const elsewhere = timed(await opened(other, SMALL));
  for (const { bytes } of await Promise.all([shared, elsewhere])) assert.ok(bytes.equals(data.subarray(0, SMALL)));
  const { ms, bytes } = await behind;
  assert.ok(bytes.equals(data.subarray(0, SMALL)));
  assert.ok(ms > 800, `it waited for ${ms} ms`);
  assert.ok((await timed(stuck)).bytes.equals(data));
  const after = await timed(await opened(stub, SMALL));
  assert.ok(after.bytes.equals(data.subarray(0, SMALL)));
  other.close();
  await store.remove(blob);
});

test.run();
