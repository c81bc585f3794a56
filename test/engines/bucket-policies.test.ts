/** The policies of docs/bucket-policies.md at a real store: all that a storage-proxy needs, and nothing else. */
import { readFileSync } from 'node:fs';
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketPolicyCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import type { Engine, Session } from '../../storage-proxy/engines/engine.js';
import { createEngine } from '../../storage-proxy/engines/registry.js';
import { collect, pattern, pieces } from '../contract/bytes.js';
import { CEPH_NEEDS, startCeph } from '../stores/ceph.js';
import { clientOf, makeBucket, radosArguments, type S3Server, type TestBucket } from '../stores/store.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('S3: least rights', { needs: CEPH_NEEDS, timeoutMs: 60_000 });

const MIB = 1024 * 1024;
const USER = 'registry-us';
const policySchema = z.object({
  Version: z.string(),
  Statement: z.array(z.looseObject({ Action: z.array(z.string()), Resource: z.string() })),
});
type Policy = z.infer<typeof policySchema>;

const page = readFileSync(new URL('../../../docs/bucket-policies.md', import.meta.url), 'utf8');

/** The first policy of a section of the page. */
function policyOf(title: string): Policy {
  const section = page.split(/^## /m).find(each => each.startsWith(title)) ?? '';
  return policySchema.parse(JSON.parse(/```json\n(.*?)```/s.exec(section)?.[1] ?? ''));
}

const actionsOf = (policy: Policy) => [...new Set(policy.Statement.flatMap(({ Action }) => Action))];

/** The policy for a bucket of ours, without one of its actions. */
function forBucket(policy: Policy, bucket: TestBucket, without?: string): string {
  const Statement = policy.Statement.map(({ Action, ...rest }) => ({
    ...rest,
    Action: Action.filter(action => action !== without),
  }));
  return JSON.stringify({ ...policy, Statement }).replaceAll(':::registry-us', `:::${bucket.name}`);
}

let server: S3Server;
let bucket: TestBucket;
let other: TestBucket;
let keys: { readonly accessKey: string; readonly secretKey: string };
let user: S3Client;

test.before(async () => {
  server = await startCeph();
  bucket = await makeBucket(server);
  other = await makeBucket(server);
  assert.ok(server.user);
  keys = await server.user(USER);
  user = clientOf(server, { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey });
  for (const { client } of [bucket, other, { client: user }]) atEnd(() => client.destroy());
});
test.after.each(() => bucket.empty());

const grant = (Policy: string) => bucket.client.send(new PutBucketPolicyCommand({ Bucket: bucket.name, Policy }));

const asUser = (changes: Readonly<Record<string, unknown>> = {}) =>
  createEngine({
    name: 'usstorage',
    driver: 'RadosGWStorage',
    arguments: radosArguments(bucket, { access_key: keys.accessKey, secret_key: keys.secretKey, ...changes }),
  });

/**
 * What another user of the bucket has left there, as in one that is taken over: a blob, and an unfinished upload. A
 * store may let everybody do with their own objects what a policy does not grant.
 */
async function fromBefore(): Promise<Digest> {
  const Body = Buffer.from('from Quay');
  const digest = digestOf(Body);
  const Key = keyOf(digest);
  await bucket.client.send(new PutObjectCommand({ Bucket: bucket.name, Key, Body }));
  await bucket.client.send(new CreateMultipartUploadCommand({ Bucket: bucket.name, Key }));
  return digest;
}

const keyOf = (digest: Digest) => `datastorage/registry/sha256/${digest.slice(7, 9)}/${digest.slice(7)}`;

/** Everything that a storage-proxy does with its bucket. Throws what it is refused. */
async function doEverything(open: () => Engine): Promise<void> {
  const engine = open();
  const { readError, writeError } = await engine.probe();
  if (readError ?? writeError) throw readError ?? writeError;
  const append = async (at: Engine, session: Session, data: Buffer) =>
    (await at.append(session, pieces(data, 300_000), () => {})).session;

  const stored: Digest[] = [await fromBefore()];
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

async function refused(what: string, request: Promise<unknown>): Promise<void> {
  const answer = await request.then(
    () => 'it is allowed',
    (error: unknown) => (error instanceof Error ? error.name : String(error)),
  );
  assert.match(answer, /^(AccessDenied|Forbidden|TooManyBuckets)$/, what);
}

/** What the policy leaves out. */
async function refusesTheRest(client: S3Client): Promise<void> {
  const Bucket = bucket.name;
  const [inside, beside, elsewhere] = [
    { Bucket, Key: 'datastorage/registry/one' },
    { Bucket, Key: 'datastorage/other/two' },
    { Bucket: other.name, Key: 'datastorage/registry/three' },
  ];
  for (const each of [inside, beside]) await bucket.client.send(new PutObjectCommand({ ...each, Body: 'x' }));
  await other.client.send(new PutObjectCommand({ ...elsewhere, Body: 'x' }));
  await client.send(new GetObjectCommand(inside));
  for (const each of [beside, elsewhere]) {
    await refused('reading elsewhere', client.send(new GetObjectCommand(each)));
    await refused('writing elsewhere', client.send(new PutObjectCommand({ ...each, Body: 'y' })));
    await refused('deleting elsewhere', client.send(new DeleteObjectCommand(each)));
  }
  // The answer is about each object.
  const Delete = { Objects: [{ Key: beside.Key }] };
  const { Errors } = await client.send(new DeleteObjectsCommand({ Bucket, Delete }));
  assert.is(Errors?.[0]?.Code, 'AccessDenied');
  await refused('listing another bucket', client.send(new ListObjectsV2Command({ Bucket: other.name })));
  await refused('opening to all', client.send(new PutObjectAclCommand({ ...inside, ACL: 'public-read' })));
  await refused('reading the policy', client.send(new GetBucketPolicyCommand({ Bucket })));
  const Policy = forBucket(policyOf('Ceph'), bucket);
  await refused('changing the policy', client.send(new PutBucketPolicyCommand({ Bucket, Policy })));
  const VersioningConfiguration = { Status: 'Suspended' } as const;
  await refused('versioning', client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration })));
  await refused('deleting the bucket', client.send(new DeleteBucketCommand({ Bucket })));
}

test('a bucket policy, for a user who owns nothing: enough', async () => {
  await grant(forBucket(policyOf('Ceph'), bucket));
  await doEverything(() => asUser());
  await doEverything(() => asUser({ server_side_assembly: false }));
});

test('and nothing else', async () => {
  await grant(forBucket(policyOf('Ceph'), bucket));
  await refusesTheRest(user);
  await refused('making a bucket', user.send(new CreateBucketCommand({ Bucket: 'one-more' })));
});

for (const action of actionsOf(policyOf('Ceph'))) {
  test(`without ${action} something is missing`, async () => {
    await grant(forBucket(policyOf('Ceph'), bucket, action));
    const message = await doEverything(() => asUser()).then(
      () => 'nothing is',
      (error: unknown) => String(error),
    );
    assert.match(message, /refus|right|denied|403/i);
  });
}

test('the same as the rights of a role', async () => {
  assert.ok(server.role);
  const RoleArn = await server.role(
    'registry',
    forBucket(policyOf('Ceph'), bucket).replaceAll(/"Principal":\{.*?\},/g, ''),
  );
  await bucket.client.send(new DeleteBucketPolicyCommand({ Bucket: bucket.name }));
  const endpoint = `http://${server.host}:${server.port}`;
  process.env.AWS_ENDPOINT_URL_STS = endpoint;
  await doEverything(() =>
    createEngine({
      name: 'usstorage',
      driver: 'STSS3Storage',
      arguments: {
        storage_path: '/datastorage/registry',
        s3_bucket: bucket.name,
        endpoint_url: endpoint,
        sts_role_arn: RoleArn,
        sts_user_access_key: server.accessKey,
        sts_user_secret_key: server.secretKey,
      },
    }),
  );
  const masterCredentials = { accessKeyId: server.accessKey, secretAccessKey: server.secretKey };
  const client = clientOf(
    server,
    fromTemporaryCredentials({
      masterCredentials,
      params: { RoleArn, RoleSessionName: 'test' },
      clientConfig: { region: 'us-east-1' },
    }),
  );
  atEnd(() => client.destroy());
  await refusesTheRest(client);
});

test('a versioned bucket: the same policy, and nothing can be deleted for good', async () => {
  const { client, name: Bucket } = bucket;
  await grant(forBucket(policyOf('Ceph'), bucket));
  await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  await doEverything(() => asUser());
  const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket }));
  assert.ok(Versions.length > 0);
  const Key = Versions[0]?.Key;
  const VersionId = Versions[0]?.VersionId;
  await refused('deleting a version', user.send(new DeleteObjectCommand({ Bucket, Key, VersionId })));
});

test.run();
