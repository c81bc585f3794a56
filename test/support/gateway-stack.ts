/** A registry for the gateway's tests: real PostgreSQL, storage-proxies and gateways, each a process of its own. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../../lib/metadata/migrate.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { type OciClient, ociClient } from './oci-client.js';
import { freePort } from './ports.js';
import { freshDatabase } from './postgres.js';
import { type StartedProcess, startProcess } from './process.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';

export interface Gateway {
  readonly port: number;
  readonly process: StartedProcess;
  readonly client: OciClient;
}

export interface GatewayStack {
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

export interface GatewayStackOptions {
  readonly locations?: readonly string[];
  /** Added to config.yaml. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Changes the address of the database for gateways. */
  readonly through?: (url: string) => Promise<string>;
}

export async function startGatewayStack(options: GatewayStackOptions = {}): Promise<GatewayStack> {
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
