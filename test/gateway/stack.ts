/** A registry for the gateway's tests: real PostgreSQL, storage-proxies and gateways, each a process of its own. */
import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../../lib/metadata/migrate.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { type OciClient, type OciResponse, ociClient } from '../support/oci-client.js';
import { freePort } from '../support/ports.js';
import { freshDatabase } from '../support/postgres.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { atEnd } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

export interface Gateway {
  readonly port: number;
  readonly process: StartedProcess;
  readonly client: OciClient;
}

export interface Stack {
  /** Of the first gateway. */
  readonly port: number;
  readonly client: OciClient;
  readonly proxies: Readonly<Record<string, StartedProcess>>;
  readonly proxyPorts: Readonly<Record<string, number>>;
  readonly databaseUrl: string;
  /** What the first gateway has written so far. */
  gatewayLog(): string;
  startGateway(config?: Readonly<Record<string, unknown>>): Promise<Gateway>;
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  /** The files that the stores hold: blobs, and what uploads have left. */
  stored(): Promise<{ blobs: string[]; uploads: string[] }>;
}

export interface StackOptions {
  readonly locations?: readonly string[];
  /** Added to config.yaml. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Changes the address of the database for gateways. */
  readonly through?: (url: string) => Promise<string>;
}

export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const { locations = ['usstorage'], through = async url => url } = options;
  const { url: databaseUrl } = await freshDatabase();
  await migrate(databaseUrl, createLogger({ name: 'test', level: 'silent' }));
  const folders: Record<string, string> = {};
  const ports: Record<string, number> = {};
  for (const name of locations) {
    folders[name] = await temporaryFolder(name);
    ports[name] = await freePort();
  }
  const config = {
    DB_URI: await through(databaseUrl),
    DISTRIBUTED_STORAGE_CONFIG: Object.fromEntries(
      locations.map(name => [name, ['LocalStorage', { storage_path: folders[name] }]]),
    ),
    DISTRIBUTED_STORAGE_PREFERENCE: locations,
    DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: locations,
    FEATURE_STORAGE_REPLICATION: true,
    ENTREPOT_LOCATIONS: Object.fromEntries(locations.map(name => [name, { nodes: [`127.0.0.1:${ports[name]}`] }])),
    ENTREPOT_ANONYMOUS_ACCESS: 'push',
    ENTREPOT_LOG_LEVEL: 'debug',
    ...options.config,
  };
  const proxies: Record<string, StartedProcess> = {};
  for (const name of locations) {
    const address = `127.0.0.1:${ports[name]}`;
    proxies[name] = await startProcess({
      name,
      script: 'storage-proxy/main.js',
      config,
      env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: name, ENTREPOT_STORAGE_PROXY_LISTEN: address },
      ready: () => checkHealth(address, 'entrepot.storage.write', 1_000),
    });
  }

  async function startGateway(more: Readonly<Record<string, unknown>> = {}): Promise<Gateway> {
    const port = await freePort();
    const client = ociClient(`http://127.0.0.1:${port}`);
    atEnd(() => client.close());
    const started = await startProcess({
      script: 'gateway/main.js',
      config: { ENTREPOT_GATEWAY_LISTEN: `127.0.0.1:${port}`, ...config, ...more },
      ready: async () => {
        const { body } = await client.request('GET', '/health/instance');
        const { data, status_code } = JSON.parse(body.toString());
        return status_code === 200 && data.informational.preferred_storage;
      },
    });
    return { port, process: started, client };
  }

  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  pool.on('error', () => {});
  atEnd(() => pool.end());
  const first = await startGateway();
  return {
    port: first.port,
    client: first.client,
    gatewayLog: () => first.process.log(),
    proxies,
    proxyPorts: ports,
    databaseUrl,
    startGateway,
    sql: async (text, values = []) => (await pool.query(text, values)).rows,
    async stored() {
      const files: string[] = [];
      for (const folder of Object.values(folders)) {
        const entries = await readdir(folder, { recursive: true, withFileTypes: true });
        files.push(
          ...entries
            .filter(each => each.isFile())
            .map(each => join(each.parentPath, each.name).slice(folder.length + 1)),
        );
      }
      return {
        blobs: files.filter(path => /^sha(256|512)\//.test(path)),
        uploads: files.filter(path => path.startsWith('uploads/')),
      };
    },
  };
}

export function digestOf(bytes: Buffer, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export function someBytes(size: number): Buffer {
  return randomBytes(size);
}

/** The code of an error in the specification's form. */
export function codeOf(answer: { body: Buffer | string }): string {
  return JSON.parse(answer.body.toString()).errors[0].code;
}

/** `location` with `digest` added to its query, as clients do. */
export function closing(location: string | undefined, digest: string): string {
  if (location === undefined) throw new Error('the answer has no Location');
  return `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
}

/** Begins an upload; its Location. */
export async function begin(client: OciClient, repository: string, query = ''): Promise<string> {
  const answer = await client.request('POST', `/v2/${repository}/blobs/uploads/${query}`);
  if (answer.status !== 202) throw new Error(`POST: ${answer.status} ${answer.body}`);
  return answer.headers.location ?? '';
}

/** The ways to push a blob: each sends `bytes`, and closes with `digest`. */
export const waysToPush: Readonly<
  Record<string, (client: OciClient, repository: string, bytes: Buffer, digest: string) => Promise<OciResponse>>
> = {
  'POST with digest': (client, repository, body, digest) =>
    client.request('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body }),
  'POST, PUT': async (client, repository, body, digest) =>
    client.request('PUT', closing(await begin(client, repository, algorithmHint(digest)), digest), { body }),
  'POST, streamed PATCH, PUT': async (client, repository, body, digest) => {
    const location = await begin(client, repository);
    const { Readable } = await import('node:stream');
    const patched = await client.request('PATCH', location, { body: Readable.from([body]) });
    return client.request('PUT', closing(patched.headers.location, digest), { headers: { 'content-length': 0 } });
  },
  'POST, chunks, PUT': async (client, repository, bytes, digest) => {
    const location = await chunks(client, await begin(client, repository, algorithmHint(digest)), bytes, bytes.length);
    return client.request('PUT', closing(location, digest), { headers: { 'content-length': 0 } });
  },
  'POST, chunks, PUT with the last one': async (client, repository, bytes, digest) => {
    const upTo = Math.floor(bytes.length / 2);
    const location = await chunks(client, await begin(client, repository), bytes, upTo);
    const headers: Record<string, string> =
      bytes.length > upTo ? { 'content-range': `${upTo}-${bytes.length - 1}` } : {};
    return client.request('PUT', closing(location, digest), { body: bytes.subarray(upTo), headers });
  },
};

function algorithmHint(digest: string): string {
  return digest.startsWith('sha512') ? '?digest-algorithm=sha512' : '';
}

async function chunks(client: OciClient, first: string, bytes: Buffer, upTo: number): Promise<string> {
  const size = Math.max(1, Math.ceil(upTo / 3));
  let location = first;
  for (let at = 0; at < upTo; at += size) {
    const body = bytes.subarray(at, Math.min(at + size, upTo));
    const headers = { 'content-range': `${at}-${at + body.length - 1}` };
    const answer = await client.request('PATCH', location, { body, headers });
    if (answer.status !== 202) throw new Error(`PATCH: ${answer.status} ${answer.body}`);
    location = answer.headers.location ?? '';
  }
  return location;
}
