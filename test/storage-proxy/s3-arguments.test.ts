/** The arguments of the S3 family: exactly Quay's keys, and what they lead to. */
import * as assert from 'uvu/assert';
import { s3Drivers } from '../../lib/config/engines/s3.js';
import { createEngine } from '../../storage-proxy/engines/registry.js';
import { suite } from '../support/suite.js';

const test = suite('S3 arguments');

const aws = { storage_path: '/datastorage/registry', s3_bucket: 'b' };
const rados = {
  hostname: 'rgw.example.com',
  is_secure: true,
  storage_path: '/r/',
  access_key: 'key',
  secret_key: 'hunter2',
  bucket_name: 'b',
};

function settings(driver: string, values: unknown) {
  const form = s3Drivers[driver];
  assert.ok(form);
  return form.parse(values);
}

function complaint(driver: string, values: Record<string, unknown>): string {
  try {
    createEngine({ name: 'usstorage', driver, arguments: values });
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
}

test('a region leads to AWS, whatever else is given', () => {
  const { endpoint, region, encryption } = settings('S3Storage', {
    ...aws,
    s3_region: 'eu-west-1',
    host: 'elsewhere.example.com',
    endpoint_url: 'http://elsewhere.example.com',
  });
  assert.is(endpoint, undefined);
  assert.is(region, 'eu-west-1');
  assert.equal(encryption, { ServerSideEncryption: 'AES256', SSEKMSKeyId: undefined });
});

test('a host is asked over TLS, an address as it is written', () => {
  assert.is(
    settings('S3Storage', { ...aws, host: 'minio.example.com', port: '9000' }).endpoint,
    'https://minio.example.com:9000',
  );
  const given = settings('S3Storage', { ...aws, endpoint_url: 'http://minio.example.com:9000' });
  assert.is(given.endpoint, 'http://minio.example.com:9000');
  assert.is(given.encryption, undefined, 'other stores are not asked to encrypt');
  assert.is(settings('S3Storage', { ...aws, host: 's3.us-east-2.amazonaws.com' }).region, 'us-east-2');
});

test('without keys the environment is asked, with empty ones, too', () => {
  assert.equal(settings('S3Storage', aws).credentials, { kind: 'environment' });
  assert.equal(settings('S3Storage', { ...aws, s3_access_key: '', s3_secret_key: null }).credentials, {
    kind: 'environment',
  });
  const role = { kind: 'role', arn: 'arn:aws:iam::1:role/x', keys: undefined };
  const sts = { ...aws, sts_role_arn: 'arn:aws:iam::1:role/x', sts_user_access_key: '', sts_user_secret_key: '' };
  assert.equal(settings('STSS3Storage', sts).credentials, role);
});

test('the drivers that name a host', () => {
  for (const driver of ['RadosGWStorage', 'RHOCSStorage', 'IBMCloudStorage']) {
    const { endpoint, root, maxCopyBytes } = settings(driver, { ...rados, port: '8443', maximum_chunk_size_mb: '200' });
    assert.is(endpoint, 'https://rgw.example.com:8443');
    assert.is(root, 'r');
    assert.is(maxCopyBytes, 200 * 1024 * 1024);
  }
  assert.is(settings('RadosGWStorage', { ...rados, server_side_assembly: false }).serverSideCopy, false);
});

test('encryption can be chosen', () => {
  assert.equal(settings('S3Storage', { ...aws, sse_kms_key_id: 'k' }).encryption, {
    ServerSideEncryption: 'aws:kms',
    SSEKMSKeyId: 'k',
  });
  assert.is(settings('S3Storage', { ...aws, server_side_encryption: 'none' }).encryption, undefined);
});

test('mistakes name the argument, and never repeat a value', () => {
  const mistakes: [string, Record<string, unknown>, RegExp][] = [
    ['S3Storage', { storage_path: '/x' }, /usstorage\.s3_bucket: is missing/],
    ['S3Storage', { ...aws, s3_acess_key: 'hunter2' }, /s3_acess_key/],
    ['S3Storage', { ...aws, s3_access_key: 'hunter2' }, /s3_access_key and s3_secret_key belong together/],
    ['S3Storage', { ...aws, signature_version: 's3' }, /signature_version: only s3v4/],
    ['S3Storage', { ...aws, port: 'hunter2' }, /usstorage\.port/],
    ['S3Storage', { ...aws, endpoint_url: 'hunter2.example.com' }, /endpoint_url: must begin with http/],
    ['STSS3Storage', { ...aws, sts_user_access_key: 'a', sts_user_secret_key: 'b' }, /sts_role_arn: is needed/],
    ['STSS3Storage', { ...aws, host: 'h' }, /usstorage\.host: the engine has no such argument/],
    ['RadosGWStorage', { ...rados, is_secure: 'yes' }, /is_secure/],
    ['RadosGWStorage', { ...rados, minimum_chunk_size_mb: '1' }, /minimum_chunk_size_mb/],
    ['IBMCloudStorage', { ...rados, server_side_assembly: true }, /server_side_assembly/],
  ];
  for (const [driver, values, wanted] of mistakes) {
    const message = complaint(driver, values);
    assert.match(message, wanted);
    assert.match(message, 'DISTRIBUTED_STORAGE_CONFIG.usstorage');
    assert.not.match(message, /hunter2/);
  }
  assert.is(complaint('RHOCSStorage', rados), 'none');
  assert.match(complaint('FakeStorage', {}), /is not known/);
});

test.run();
