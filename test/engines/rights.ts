/** What a storage-proxy does with its store, for tests of the rights that it needs; and what it is refused. */
import { CreateMultipartUploadCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import * as assert from 'uvu/assert';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import type { Engine, Session } from '../../storage-proxy/engines/engine.js';
import type { TestBucket } from '../stores/store.js';
import { collect, pattern, pieces } from '../support/bytes.js';

const MIB = 1024 * 1024;

/**
 * What another user of the bucket has left there, as in one that is taken over: a blob, and an unfinished upload. A
 * store may let everybody do with their own objects what a policy does not grant.
 */
async function fromBefore(bucket: TestBucket): Promise<Digest> {
  const Body = Buffer.from('from Quay');
  const digest = digestOf(Body);
  const Key = keyOf(digest);
  await bucket.client.send(new PutObjectCommand({ Bucket: bucket.name, Key, Body }));
  await bucket.client.send(new CreateMultipartUploadCommand({ Bucket: bucket.name, Key }));
  return digest;
}

const keyOf = (digest: Digest) => `datastorage/registry/sha256/${digest.slice(7, 9)}/${digest.slice(7)}`;

/** Everything that a storage-proxy does with its bucket. Throws what it is refused. */
export async function doEverything(bucket: TestBucket, open: () => Engine): Promise<void> {
  const engine = open();
  const { readError, writeError } = await engine.probe();
  if (readError ?? writeError) throw readError ?? writeError;
  const append = async (at: Engine, session: Session, data: Buffer) =>
    (await at.append(session, pieces(data, 300_000), () => {})).session;

  const stored: Digest[] = [await fromBefore(bucket)];
  for (const digest of stored) assert.is((await collect((await engine.read(digest, { offset: 0 })).bytes)).length, 9);
  for (const size of [1_000, 17 * MIB + 1]) {
    for (const known of [false, true]) {
      const data = pattern(size, size + Number(known));
      const digest = digestOf(data);
      assert.is(await engine.stat(digest), undefined);
      let { session } = await engine.begin(known ? { digest } : {});
      session = await append(engine, session, data.subarray(0, size >> 1));
      // What was begun without a digest is gone on with by another node, which knows only the session.
      const next = known ? engine : open();
      session = await append(next, session, data.subarray(size >> 1));
      assert.is(await next.commit(session, digest), size);
      assert.ok((await collect((await engine.read(digest, { offset: 0 })).bytes)).equals(data));
      stored.push(digest);
    }
  }
  const listed: Digest[] = [];
  for await (const { digest } of engine.list(undefined)) listed.push(digest);
  assert.equal(listed, stored.toSorted());

  // One is ended by who began it, the other is found and swept up.
  const left = [];
  for (const seed of [1, 2]) left.push(await append(engine, (await engine.begin({})).session, pattern(9 * MIB, seed)));
  assert.ok(left[0]);
  await engine.abort(left[0]);
  for await (const { session } of engine.staleUploads(Date.now() + 3_600_000)) await engine.abort(session);
  for (const digest of stored) await engine.remove(digest);
  assert.equal(await bucket.content(), []);
}

/** The store must refuse it. */
export async function refused(what: string, request: Promise<unknown>): Promise<void> {
  const answer = await request.then(
    () => 'it is allowed',
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
  assert.match(answer, /^(AccessDenied|Forbidden|TooManyBuckets)$/, what);
}
