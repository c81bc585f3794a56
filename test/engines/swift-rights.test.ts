/** The access lists of docs/bucket-policies.md for Swift: all that a storage-proxy needs. */
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import * as assert from 'uvu/assert';
import { createEngine } from '../../storage-proxy/engines/registry.js';
import { clientOf, makeBucket, radosArguments } from '../stores/store.js';
import { SWIFT_NEEDS, startSwift } from '../stores/swift.js';
import { atEnd, suite } from '../support/suite.js';
import { doEverything, refused } from './rights.js';

const test = suite('Swift: least rights', { needs: SWIFT_NEEDS, timeoutMs: 240_000, fileTimeoutMs: 300_000 });

test('a user who owns nothing, let into the bucket and its segments: enough, and nothing else', async () => {
  const server = await startSwift();
  const [bucket, other] = [await makeBucket(server), await makeBucket(server)];
  assert.ok(server.user && server.open);
  const keys = await server.user('');
  const user = clientOf(server, { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey });
  for (const { client } of [bucket, other, { client: user }]) atEnd(() => client.destroy());
  const asUser = () =>
    createEngine({
      name: 'usstorage',
      driver: 'RadosGWStorage',
      arguments: radosArguments(bucket, { access_key: keys.accessKey, secret_key: keys.secretKey }),
    });

  const { readError } = await asUser().probe();
  assert.match(readError?.message ?? '', 'refuses us');
  for (const container of [bucket.name, `${bucket.name}+segments`]) await server.open(container, keys.accessKey);
  await doEverything(bucket, asUser);

  const there = { Bucket: other.name, Key: 'one' };
  await other.client.send(new PutObjectCommand({ ...there, Body: 'x' }));
  await refused('reading elsewhere', user.send(new GetObjectCommand(there)));
  await refused('writing elsewhere', user.send(new PutObjectCommand({ ...there, Body: 'y' })));
  await refused('listing elsewhere', user.send(new ListObjectsV2Command({ Bucket: other.name })));
});

test.run();
