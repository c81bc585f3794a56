/**
 * Two regions for a test: real PostgreSQL, two storage-proxies on local disk, two workers, two gateways, each a process
 * that the test can kill and start again.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import pino from 'pino';
import {
  kinds,
  type Part,
  type PortName,
  type Ports,
  partsOf,
  portNames,
  regions,
} from '../../deploy/local/topology.js';
import { migrate } from '../../lib/metadata/migrate.js';
import { freePorts } from './ports.js';
import { freshDatabase } from './postgres.js';
import { type StartedProcess, startProcess } from './process.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';

export type PartName = Exclude<PortName, 'postgres'>;

type ConfigKeys = Readonly<Record<string, unknown>>;

export interface StackOptions {
  /** The parts to start at first; all of them if absent. */
  readonly parts?: readonly PartName[];
  /** Added to config.yaml, or made from what it would be. */
  readonly config?: ConfigKeys | ((base: ConfigKeys) => ConfigKeys);
  /** Added to every process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** An empty database; one on the tests' server if absent. */
  readonly databaseUrl?: string;
}

export interface Stack {
  readonly databaseUrl: string;
  readonly ports: Ports;
  /** The base URL of a region's gateway. */
  readonly us: string;
  readonly eu: string;
  /** What the processes have as config.yaml. */
  readonly config: ConfigKeys;
  /** The folder of a location's storage. */
  storagePath(location: string): string;
  /** A running part. Throws if it does not run. */
  part(name: PartName): StartedProcess;
  /** Starts a part, again if it ran before, and waits until it is healthy. `env` is added to its environment. */
  start(name: PartName, env?: Readonly<Record<string, string>>): Promise<StartedProcess>;
  /** Ends a part at once, as a power cut would. */
  kill(name: PartName): Promise<void>;
  /** One statement on the database. */
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  /** Waits until no copy is missing anywhere. */
  replicated(timeoutMs?: number): Promise<void>;
  /** The blob files of a location, as `sha256:<hex>`. */
  blobsOf(location: string): Promise<string[]>;
}

/** Starts a stack; it ends with the suite. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const folder = await temporaryFolder('stack');
  const databaseUrl = options.databaseUrl ?? (await freshDatabase()).url;
  await migrate(databaseUrl, pino({ level: 'silent' }));
  const numbers = await freePorts(portNames.length);
  const ports = Object.fromEntries(portNames.map((name, index) => [name, numbers[index]])) as unknown as Ports;
  const storagePath = (location: string) => join(folder, location);
  for (const { location } of regions) await mkdir(storagePath(location));
  const base: ConfigKeys = {
    DB_URI: databaseUrl,
    DISTRIBUTED_STORAGE_CONFIG: Object.fromEntries(
      regions.map(({ location }) => [location, ['LocalStorage', { storage_path: storagePath(location) }]]),
    ),
    DISTRIBUTED_STORAGE_PREFERENCE: regions.map(({ location }) => location),
    FEATURE_STORAGE_REPLICATION: true,
    ENTREPOT_LOCATIONS: Object.fromEntries(
      regions.map(({ location, name }) => [location, { nodes: [`127.0.0.1:${ports[`storage-proxy-${name}`]}`] }]),
    ),
    ENTREPOT_ANONYMOUS_ACCESS: 'push',
  };
  const config = { ...base, ...(typeof options.config === 'function' ? options.config(base) : options.config) };
  const parts = kinds.flatMap(kind => partsOf(kind, ports)) as (Part & { name: PartName })[];
  const running = new Map<PartName, StartedProcess>();
  const sqlPool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  sqlPool.on('error', () => {});
  atEnd(() => sqlPool.end());

  /** Waits until the gateway of its region has noticed that a storage-proxy is (back) there. */
  async function gatewaysKnow(name: PartName): Promise<void> {
    const region = regions.find(each => name === `storage-proxy-${each.name}`);
    if (!region || !running.get(`gateway-${region.name}`)?.isRunning()) return;
    for (let attempt = 0; attempt < 100; attempt++) {
      const answer = await fetch(`http://127.0.0.1:${ports[`gateway-${region.name}`]}/health/instance`);
      const body = (await answer.json()) as { data: { informational: { preferred_storage: boolean } } };
      if (body.data.informational.preferred_storage) return;
      await sleep(50);
    }
    throw new Error(`the gateway of ${region.name} does not find ${name} again`);
  }

  const stack: Stack = {
    databaseUrl,
    ports,
    us: `http://127.0.0.1:${ports['gateway-us']}`,
    eu: `http://127.0.0.1:${ports['gateway-eu']}`,
    config,
    storagePath,
    part(name) {
      const process = running.get(name);
      if (!process?.isRunning()) throw new Error(`${name} does not run`);
      return process;
    },
    async start(name, env) {
      const part = parts.find(each => each.name === name);
      if (!part) throw new Error(`there is no ${name}`);
      const started = await startProcess({
        name,
        script: part.script,
        config,
        env: { ...part.env, ...options.env, ...env },
        ready: () => part.isHealthy(),
      });
      running.set(name, started);
      await gatewaysKnow(name);
      return started;
    },
    async kill(name) {
      const process = stack.part(name);
      process.kill('SIGKILL');
      await process.exited;
    },
    async sql(text, values = []) {
      return (await sqlPool.query(text, values)).rows;
    },
    async replicated(timeoutMs = 40_000) {
      const deadline = Date.now() + timeoutMs;
      while (true) {
        const left = await stack.sql('select last_error from replication');
        if (left.length === 0) return;
        if (Date.now() > deadline)
          throw new Error(`${left.length} copies are missing: ${JSON.stringify(left.slice(0, 3))}`);
        await sleep(50);
      }
    },
    async blobsOf(location) {
      const blobs: string[] = [];
      // Only below these: the folder of an upload may vanish while it is listed.
      for (const algorithm of ['sha256', 'sha512']) {
        const folder = join(storagePath(location), algorithm);
        for (const file of existsSync(folder) ? await readdir(folder, { recursive: true }) : []) {
          const match = /^[0-9a-f]{2}\/([0-9a-f]+)$/.exec(file);
          if (match && (await stat(join(folder, file))).isFile()) blobs.push(`${algorithm}:${match[1]}`);
        }
      }
      return blobs.sort();
    },
  };
  const wanted = options.parts ?? parts.map(part => part.name);
  for (const kind of kinds) {
    await Promise.all(
      parts.filter(part => part.kind === kind && wanted.includes(part.name)).map(part => stack.start(part.name)),
    );
  }
  return stack;
}
