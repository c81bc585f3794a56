/** The policies of docs/bucket-policies.md at a real store: all that a storage-proxy needs, and nothing else. */
import { readFileSync } from 'node:fs';
import {
  CreateBucketCommand,
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
import { createEngine } from '../../storage-proxy/engines/registry.js';
import { CEPH_NEEDS, startCeph } from '../stores/ceph.js';
import { clientOf, makeBucket, radosArguments, type S3Server, type TestBucket } from '../stores/store.js';
import { atEnd, suite } from '../support/suite.js';
import { doEverything, refused } from './rights.js';

const test = suite('S3: least rights', { needs: CEPH_NEEDS, timeoutMs: 60_000 });

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

const ONE = 'datastorage/registry/one';

/** Objects that the policy leaves out. */
async function refusesOthers(client: S3Client): Promise<void> {
  const Bucket = bucket.name;
  const [inside, beside, elsewhere] = [
    { Bucket, Key: ONE },
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
}

/** Everything but objects. */
async function refusesTheRest(client: S3Client): Promise<void> {
  const Bucket = bucket.name;
  const inside = { Bucket, Key: ONE };
  await bucket.client.send(new PutObjectCommand({ ...inside, Body: 'x' }));
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
  await doEverything(bucket, () => asUser());
  await doEverything(bucket, () => asUser({ server_side_assembly: false }));
});

test('and nothing else', async () => {
  await grant(forBucket(policyOf('Ceph'), bucket));
  await refusesOthers(user);
  await refusesTheRest(user);
  await refused('making a bucket', user.send(new CreateBucketCommand({ Bucket: 'one-more' })));
});

for (const action of actionsOf(policyOf('Ceph'))) {
  test(`without ${action} something is missing`, async () => {
    await grant(forBucket(policyOf('Ceph'), bucket, action));
    const message = await doEverything(bucket, () => asUser()).then(
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
  await doEverything(bucket, () =>
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
  // Here the bucket's owner has assumed it, and Ceph asks no policy for what only an owner may do.
  await refusesOthers(client);
});

test('a versioned bucket: the same policy, and nothing can be deleted for good', async () => {
  const { client, name: Bucket } = bucket;
  await grant(forBucket(policyOf('Ceph'), bucket));
  await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
  await doEverything(bucket, () => asUser());
  const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket }));
  assert.ok(Versions.length > 0);
  const Key = Versions[0]?.Key;
  const VersionId = Versions[0]?.VersionId;
  await refused('deleting a version', user.send(new DeleteObjectCommand({ Bucket, Key, VersionId })));
});

test.run();
