/** What is measured: each is started on the same disk, says little in its log, and is ended with the suite. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DeleteObjectCommand, paginateListObjectsV2 } from '@aws-sdk/client-s3';
import { stringify } from 'yaml';
import { startCluster } from '../../deploy/local/postgres/cluster.js';
import { radosArguments, type TestBucket } from '../stores/store.js';
import { findCommand } from '../support/needs.js';
import { freePort } from '../support/ports.js';
import { POSTGRES_URL } from '../support/postgres.js';
import { startProcess } from '../support/process.js';
import { startStack } from '../support/stack.js';
import { atEnd } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

export interface Candidate {
  readonly name: string;
  readonly port: number;
  /** Its processes, to see their memory. */
  readonly pids: readonly number[];
  /** Frees the disk of a blob that has been measured. */
  removeBlob(digest: string): Promise<void>;
}

const run = promisify(execFile);

/**
 * One region of ours: a gateway and a storage-proxy. No worker runs, since a single registry has nobody to copy to; what
 * is to be copied is recorded nevertheless. PostgreSQL is as durable as it is by itself, unlike in the tests; `postgres` are
 * settings of it.
 */
export async function startOurs(
  bucket?: TestBucket,
  postgres: Readonly<Record<string, string>> = {},
): Promise<Candidate> {
  const folder = await temporaryFolder('bench-postgres');
  const cluster = await startCluster({
    folder: join(folder, 'postgres'),
    port: await freePort(),
    log: join(folder, 'postgres.log'),
    database: 'entrepot',
    settings: postgres,
  });
  atEnd(() => cluster.stop('fast'));
  process.env[POSTGRES_URL] = cluster.url;
  const stack = await startStack({
    parts: ['storage-proxy-us', 'gateway-us'],
    config: {
      ENTREPOT_LOG_LEVEL: 'warn',
      ...(bucket && {
        DISTRIBUTED_STORAGE_CONFIG: {
          usstorage: ['RadosGWStorage', radosArguments(bucket)],
          eustorage: ['RadosGWStorage', radosArguments(bucket)],
        },
      }),
    },
  });
  const blobs = stack.storagePath('usstorage');
  return {
    name: 'entrepot',
    port: stack.ports['gateway-us'],
    pids: [stack.part('gateway-us').pid, stack.part('storage-proxy-us').pid],
    removeBlob: async digest => {
      if (bucket) return removeFrom(bucket, digest);
      const [algorithm = '', hex = ''] = digest.split(':');
      await rm(join(blobs, algorithm, hex.slice(0, 2), hex));
    },
  };
}

/** CNCF distribution, as Debian packages it; undefined if it is not installed. */
export async function startDistribution(bucket?: TestBucket): Promise<Candidate | undefined> {
  const command = findCommand('docker-registry');
  if (command === undefined) return undefined;
  const port = await freePort();
  const folder = await temporaryFolder('bench-distribution');
  const data = join(folder, 'data');
  await mkdir(data);
  const configuration = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: {
      ...(bucket ? s3Driver(bucket) : { filesystem: { rootdirectory: data } }),
      delete: { enabled: true },
      cache: { blobdescriptor: 'inmemory' },
    },
    http: { addr: `127.0.0.1:${port}`, relativeurls: true },
  };
  await writeFile(join(folder, 'config.yaml'), stringify(configuration));
  // With AWS_CA_BUNDLE set, its S3 driver refuses to start.
  const { AWS_CA_BUNDLE: _, ...env } = process.env;
  const child = spawn(command, ['serve', join(folder, 'config.yaml')], { stdio: 'ignore', env });
  const exited = once(child, 'exit');
  atEnd(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const answers = () =>
    fetch(`http://127.0.0.1:${port}/v2/`).then(
      answer => answer.ok,
      () => false,
    );
  if (!(await until(answers, 10_000))) throw new Error('docker-registry does not answer');
  return {
    name: 'distribution',
    port,
    pids: [child.pid ?? 0],
    removeBlob: async digest => {
      if (bucket) return removeFrom(bucket, digest);
      const [algorithm = '', hex = ''] = digest.split(':');
      await rm(join(data, 'docker/registry/v2/blobs', algorithm, hex.slice(0, 2), hex), { recursive: true });
    },
  };
}

/** Other objects stay: without the one that says whose bucket it is, ours would not write to it any more. */
async function removeFrom({ client, name: Bucket }: TestBucket, digest: string): Promise<void> {
  const [, hex = ''] = digest.split(':');
  for await (const page of paginateListObjectsV2({ client }, { Bucket })) {
    const keys = (page.Contents ?? []).flatMap(({ Key }) => (Key?.includes(hex) ? [Key] : []));
    for (const Key of keys) await client.send(new DeleteObjectCommand({ Bucket, Key }));
  }
}

/** The bytes pass through it, as they do through us: no redirects. */
function s3Driver({ name, server }: TestBucket): Record<string, unknown> {
  return {
    s3: {
      region: 'us-east-1',
      regionendpoint: `http://${server.host}:${server.port}`,
      accesskey: server.accessKey,
      secretkey: server.secretKey,
      bucket: name,
      secure: false,
      v4auth: true,
    },
    redirect: { disable: true },
  };
}

/** A server that keeps nothing, to see what the client costs. */
export async function startBare(blobSize: number): Promise<Candidate> {
  const port = await freePort();
  const bare = await startProcess({
    name: 'bare server',
    script: 'test/bench/bare-server.js',
    args: [String(port), String(blobSize)],
    ready: () =>
      fetch(`http://127.0.0.1:${port}/manifests/`).then(answer => answer.arrayBuffer().then(() => answer.ok)),
  });
  return { name: 'client alone', port, pids: [bare.pid], removeBlob: async () => {} };
}

/** Writes out what the kernel still holds, so that no candidate pays for what another wrote. */
export async function settleDisk(): Promise<void> {
  await run('sync');
}
