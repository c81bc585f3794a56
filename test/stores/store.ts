/** A real S3 server for a suite, and the test's own view of a bucket in it. */
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  paginateListObjectsV2,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import type { Daemon } from '../support/daemon.js';

export interface S3Server {
  /** For tables and titles, for example `Ceph RGW`. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly accessKey: string;
  readonly secretKey: string;
  /** The process that answers S3's requests. */
  readonly front: Daemon;
  /** It answers an access key that it does not know as if the object were missing: with 404, and to HEAD no more. */
  readonly hidesUnknownKeys?: boolean;
  /** Bounds what the bucket can hold; undefined takes the bound away. */
  limit?(bucket: string, bytes: number | undefined): Promise<void>;
  /** The name of a key that the server encrypts with, if it is told so. */
  readonly kmsKey?: string;
  /** Makes another user, who owns nothing, and may make no bucket. */
  user?(name: string): Promise<{ readonly accessKey: string; readonly secretKey: string }>;
  /** Makes a container, unless it is there, and lets a user read and write in it, where that is no bucket policy's matter. */
  open?(container: string, user: string): Promise<void>;
  /** Makes a role that the server's user may assume, and that may do what `policy` says; without one, everything. Resolves to its ARN. */
  role?(name: string, policy?: string): Promise<string>;
  /** Resolves when it works on nothing any more, also not for a client that is gone. Absent where nothing is known of it. */
  quiet?(): Promise<void>;
  /** What the server itself keeps for a bucket beside what S3 shows, and should not when nothing is in it. */
  hidden?(bucket: string): Promise<string[]>;
}

export interface TestBucket {
  readonly server: S3Server;
  readonly name: string;
  readonly client: S3Client;
  /** All objects and unfinished multipart uploads, apart from the store's identity. */
  content(): Promise<string[]>;
  empty(): Promise<void>;
}

/** RadosGWStorage's arguments for a bucket; its keys are the plainest of the family. */
export function radosArguments(bucket: TestBucket, changes: Readonly<Record<string, unknown>> = {}) {
  const { server } = bucket;
  return {
    hostname: server.host,
    port: String(server.port),
    is_secure: false,
    storage_path: '/datastorage/registry',
    access_key: server.accessKey,
    secret_key: server.secretKey,
    bucket_name: bucket.name,
    ...changes,
  };
}

/** A client of somebody's. */
export function clientOf(server: S3Server, credentials: NonNullable<S3ClientConfig['credentials']>): S3Client {
  return new S3Client({
    endpoint: `http://${server.host}:${server.port}`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
  });
}

let made = 0;

/** Makes a bucket of its own for a suite. */
export async function makeBucket(server: S3Server): Promise<TestBucket> {
  const name = `test-${process.pid}-${++made}`;
  const client = clientOf(server, { accessKeyId: server.accessKey, secretAccessKey: server.secretKey });
  await client.send(new CreateBucketCommand({ Bucket: name }));
  const keys = async () => {
    const found: string[] = [];
    for await (const page of paginateListObjectsV2({ client }, { Bucket: name })) {
      for (const { Key } of page.Contents ?? []) if (Key) found.push(Key);
    }
    return found;
  };
  const uploads = async () => (await client.send(new ListMultipartUploadsCommand({ Bucket: name }))).Uploads ?? [];
  return {
    server,
    name,
    client,
    content: async () => [
      ...(await keys()).filter(key => !key.endsWith('.entrepot-location')),
      ...(await uploads()).map(({ Key, UploadId }) => `multipart upload ${UploadId} of ${Key}`),
      ...((await server.hidden?.(name)) ?? []),
    ],
    empty: async () => {
      for (const Key of await keys()) await client.send(new DeleteObjectCommand({ Bucket: name, Key }));
      for (const { Key, UploadId } of await uploads())
        await client.send(new AbortMultipartUploadCommand({ Bucket: name, Key, UploadId }));
    },
  };
}
