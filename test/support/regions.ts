/**
 * Any number of regions for a test, each on an engine of its own, with or without a gateway and a worker; regions may be
 * added while the others run. (stack.ts is the plain case: two regions on local disk.)
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import pino from 'pino';
import { stringify } from 'yaml';
import { migrate } from '../../lib/metadata/migrate.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { freePorts } from './ports.js';
import { freshDatabase } from './postgres.js';
import { type StartedProcess, startProcess } from './process.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';

export type Role = 'storage-proxy' | 'worker' | 'gateway';

export interface RegionSpec {
  /** For example `us`; its location is `usstorage`. */
  readonly name: string;
  /** As it stands in DISTRIBUTED_STORAGE_CONFIG: the driver's name and its arguments. */
  readonly storage: readonly [driver: string, args: Readonly<Record<string, unknown>>];
  /** What runs there beside the storage-proxy; default: both. */
  readonly runs?: readonly Exclude<Role, 'storage-proxy'>[];
  /** Added to the environment of the region's processes. */
  readonly env?: Readonly<Record<string, string>>;
}

interface Placed extends RegionSpec {
  readonly location: string;
  readonly ports: Readonly<Record<Role, number>>;
}

const SCRIPT: Record<Role, string> = {
  'storage-proxy': 'storage-proxy/main.js',
  worker: 'worker/main.js',
  gateway: 'gateway/main.js',
};
const ORDER: readonly Role[] = ['storage-proxy', 'worker', 'gateway'];

export class Regions {
  readonly databaseUrl: string;
  readonly #pool: pg.Pool;
  readonly #extra: Readonly<Record<string, unknown>>;
  readonly #regions: Placed[] = [];
  readonly #running = new Map<string, StartedProcess>();

  private constructor(databaseUrl: string, extra: Readonly<Record<string, unknown>>) {
    this.databaseUrl = databaseUrl;
    this.#extra = extra;
    this.#pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
    this.#pool.on('error', () => {});
    atEnd(() => this.#pool.end());
  }

  /** Starts the regions; they end with the suite. `config` is added to everybody's config.yaml. */
  static async start(specs: readonly RegionSpec[], config: Readonly<Record<string, unknown>> = {}): Promise<Regions> {
    const { url } = await freshDatabase();
    await migrate(url, pino({ level: 'silent' }));
    const regions = new Regions(url, config);
    await regions.add(...specs);
    return regions;
  }

  /** Adds regions: their processes know all regions, those that run already know nothing of them. */
  async add(...specs: readonly RegionSpec[]): Promise<void> {
    const added: Placed[] = [];
    for (const spec of specs) {
      const [proxy = 0, worker = 0, gateway = 0] = await freePorts(3);
      added.push({
        ...spec,
        location: `${spec.name}storage`,
        ports: { 'storage-proxy': proxy, worker, gateway },
      });
    }
    this.#regions.push(...added);
    for (const role of ORDER) {
      const here = added.filter(({ runs = ['worker', 'gateway'] }) => role === 'storage-proxy' || runs.includes(role));
      await Promise.all(here.map(({ name }) => this.startPart(role, name)));
    }
  }

  /** Starts a process of a region, again if it ran before; it knows all regions that there are now. */
  async startPart(role: Role, region: string): Promise<StartedProcess> {
    const address = `127.0.0.1:${this.#region(region).ports[role]}`;
    const started = await startProcess({
      name: `${role}-${region}`,
      script: SCRIPT[role],
      env: await this.environment(role, region),
      ready: () => isHealthy(role, address),
    });
    this.#running.set(started.name, started);
    return started;
  }

  /** What a process of a region has in its environment. */
  async environment(role: Role, region: string): Promise<Record<string, string>> {
    const { ports, location, env } = this.#region(region);
    const file = join(await temporaryFolder('config'), 'config.yaml');
    await writeFile(file, stringify(this.#config()));
    return {
      ENTREPOT_CONFIG: file,
      QUAY_DISTRIBUTED_STORAGE_PREFERENCE: location,
      [`ENTREPOT_${role.toUpperCase().replace('-', '_')}_LISTEN`]: `127.0.0.1:${ports[role]}`,
      ...env,
    };
  }

  /** A running process. */
  part(role: Role, region: string): StartedProcess {
    const process = this.#running.get(`${role}-${region}`);
    if (!process?.isRunning()) throw new Error(`${role}-${region} does not run`);
    return process;
  }

  /** The base URL of a region's gateway. */
  gateway(region: string): string {
    return `http://127.0.0.1:${this.#region(region).ports.gateway}`;
  }

  async sql(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.#pool.query(text, values)).rows;
  }

  /** Waits until no copy is missing anywhere, and none is still to be queued. */
  async replicated(timeoutMs = 30_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (true) {
      const [left] = await this.sql(
        `select (select count(*)::int from replication) as copies, (select count(*)::int from requeue) as requeues,
                (select string_agg(distinct last_error, '; ') from replication) as errors`,
      );
      if (left?.copies === 0 && left.requeues === 0) return;
      if (Date.now() > deadline) throw new Error(`not replicated: ${JSON.stringify(left)}`);
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }

  #region(name: string): Placed {
    const region = this.#regions.find(each => each.name === name);
    if (!region) throw new Error(`there is no region ${name}`);
    return region;
  }

  #config(): Record<string, unknown> {
    return {
      DB_URI: this.databaseUrl,
      DISTRIBUTED_STORAGE_CONFIG: Object.fromEntries(this.#regions.map(({ location, storage }) => [location, storage])),
      DISTRIBUTED_STORAGE_PREFERENCE: this.#regions.map(({ location }) => location),
      FEATURE_STORAGE_REPLICATION: true,
      ENTREPOT_LOCATIONS: Object.fromEntries(
        this.#regions.map(({ location, ports }) => [location, { nodes: [`127.0.0.1:${ports['storage-proxy']}`] }]),
      ),
      ENTREPOT_ADMIN_SERVERS: this.#regions
        .filter(({ runs = ['worker'] }) => runs.includes('worker'))
        .map(({ ports }) => `127.0.0.1:${ports.worker}`),
      ENTREPOT_ANONYMOUS_ACCESS: 'push',
      ...this.#extra,
    };
  }
}

async function isHealthy(role: Role, address: string): Promise<boolean> {
  if (role === 'gateway') {
    const answer = await fetch(`http://${address}/health/instance`, { signal: AbortSignal.timeout(2_000) });
    await answer.arrayBuffer();
    return answer.status === 200;
  }
  const names = role === 'worker' ? [''] : ['entrepot.storage.read', 'entrepot.storage.write'];
  const answers = await Promise.all(names.map(name => checkHealth(address, name, 2_000)));
  return answers.every(Boolean);
}
