/** Encryption, credentials that do not last, and TLS, as the arguments of the S3 family ask for them, at a real store. */
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { type GetObjectCommandOutput, HeadObjectCommand } from '@aws-sdk/client-s3';
import { fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import * as assert from 'uvu/assert';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import type { Engine } from '../../storage-proxy/engines/engine.js';
import { createEngine } from '../../storage-proxy/engines/registry.js';
import { CEPH_NEEDS, startCeph } from '../stores/ceph.js';
import { makeBucket, radosArguments, type S3Server, type TestBucket } from '../stores/store.js';
import { collect, pattern, pieces } from '../support/bytes.js';
import { run } from '../support/command.js';
import { freePort } from '../support/ports.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { startNode } from './node.js';

const test = suite('S3: encryption, roles, certificates', { needs: [...CEPH_NEEDS, 'openssl'], timeoutMs: 60_000 });
const MIB = 1024 * 1024;
let server: S3Server;
let bucket: TestBucket;

test.before(async () => {
  server = await startCeph();
  bucket = await makeBucket(server);
  atEnd(() => bucket.client.destroy());
});
test.after.each(() => bucket.empty());

const rados = (changes: Readonly<Record<string, unknown>>) =>
  createEngine({ name: 'usstorage', driver: 'RadosGWStorage', arguments: radosArguments(bucket, changes) });

/** Stores blobs in all ways that an upload can go, reads them back, and resolves to what the store says of each. */
async function storeAndRead(
  engine: Engine,
): Promise<Pick<GetObjectCommandOutput, 'ServerSideEncryption' | 'SSEKMSKeyId'>[]> {
  const { readError, writeError } = await engine.probe();
  assert.is(readError ?? writeError, undefined);
  const found = [];
  for (const size of [1_000, 6 * MIB, 21 * MIB + 1]) {
    for (const known of [false, true]) {
      for (const cut of [size, Math.floor(size / 3)]) {
        const data = pattern(size, size + cut);
        const digest = digestOf(data);
        let { session } = await engine.begin(known ? { digest } : {});
        for (const part of [data.subarray(0, cut), data.subarray(cut)]) {
          session = (await engine.append(session, pieces(part, 300_000), () => {})).session;
        }
        assert.is(await engine.commit(session, digest), size);
        const { bytes } = await engine.read(digest, { offset: 0 });
        assert.ok((await collect(bytes)).equals(data), `${size}, ${known}, ${cut}`);
        found.push(await headOf(digest));
      }
    }
  }
  return found;
}

async function headOf(digest: Digest) {
  const Key = `datastorage/registry/sha256/${digest.slice(7, 9)}/${digest.slice(7)}`;
  const { ServerSideEncryption, SSEKMSKeyId } = await bucket.client.send(
    new HeadObjectCommand({ Bucket: bucket.name, Key }),
  );
  return { ServerSideEncryption, SSEKMSKeyId };
}

for (const assembly of [true, false]) {
  test(`a KMS key, server_side_assembly: ${assembly}`, async () => {
    const wanted = { server_side_encryption: 'aws:kms', sse_kms_key_id: server.kmsKey };
    const heads = await storeAndRead(rados({ ...wanted, server_side_assembly: assembly }));
    for (const head of heads) assert.equal(head, { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: server.kmsKey });
  });
}

test('a store that passes over the wish for encryption takes no blob', async () => {
  const { readError, writeError } = await rados({ server_side_encryption: 'AES256' }).probe();
  assert.is(readError, undefined);
  assert.match(writeError?.message ?? '', 'AES256');
  assert.match(writeError?.message ?? '', 'server_side_encryption');
});

test('credentials that do not last: a role that is assumed, and a token that is given', async () => {
  assert.ok(server.role);
  const sts_role_arn = await server.role('pusher');
  const endpoint_url = `http://${server.host}:${server.port}`;
  const place = { storage_path: '/datastorage/registry', s3_bucket: bucket.name, endpoint_url };
  const open = (driver: string, more: Readonly<Record<string, unknown>>) =>
    createEngine({ name: 'usstorage', driver, arguments: { ...place, ...more } });
  process.env.AWS_ENDPOINT_URL_STS = endpoint_url;
  const assuming = (changes: Readonly<Record<string, unknown>> = {}) => {
    const keys = { sts_user_access_key: server.accessKey, sts_user_secret_key: server.secretKey };
    return open('STSS3Storage', { sts_role_arn, ...keys, ...changes });
  };
  await storeAndRead(assuming());

  const credentials = await fromTemporaryCredentials({
    masterCredentials: { accessKeyId: server.accessKey, secretAccessKey: server.secretKey },
    params: { RoleArn: sts_role_arn, RoleSessionName: 'test' },
    clientConfig: { region: 'us-east-1' },
  })();
  const keys = { s3_access_key: credentials.accessKeyId, s3_secret_key: credentials.secretAccessKey };
  await storeAndRead(open('S3Storage', { ...keys, aws_session_token: credentials.sessionToken }));

  for (const changes of [{ sts_role_arn: 'arn:aws:iam:::role/nobody' }, { sts_user_secret_key: 'wrong-secret-0123' }]) {
    const { readError } = await assuming(changes).probe();
    assert.match(readError?.message ?? '', 'sts_role_arn, sts_user_access_key and sts_user_secret_key');
    assert.not.match(`${readError?.message} ${readError?.cause}`, /0123/);
  }
  const { readError } = await open('S3Storage', keys).probe();
  assert.match(readError?.message ?? '', 's3_access_key and s3_secret_key');
});

test('a certificate of an authority of our own', async () => {
  const folder = await temporaryFolder('tls');
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test'];
  await run('openssl', [...request, '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate]);
  const port = await behindTls(server, { key: await readFile(key), cert: await readFile(certificate) });
  const secure = { is_secure: true, port };
  const trusting = await startNode({ bucket, arguments: secure, env: { NODE_EXTRA_CA_CERTS: certificate } });
  await trusting.stop();

  const { readError } = await rados(secure).probe();
  assert.match(readError?.message ?? '', 'DEPTH_ZERO_SELF_SIGNED_CERT');
  assert.match(readError?.message ?? '', 'NODE_EXTRA_CA_CERTS');
});

/** Ends TLS in front of a server; resolves to the port. */
async function behindTls({ host, port }: S3Server, identity: { key: Buffer; cert: Buffer }): Promise<number> {
  const open = new Set<Socket>();
  const front = createServer(identity, client => {
    const upstream = connect(port, host);
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket
        .on('error', () => {})
        .on('close', () => {
          client.destroy();
          upstream.destroy();
          open.delete(socket);
        });
    }
    client.pipe(upstream).pipe(client);
  });
  front.on('tlsClientError', () => {});
  const at = await freePort();
  await new Promise<void>(resolve => front.listen(at, '127.0.0.1', resolve));
  atEnd(async () => {
    for (const socket of open) socket.destroy();
    await new Promise(resolve => front.close(resolve));
  });
  return at;
}

test.run();
