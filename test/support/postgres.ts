/**
 * Real PostgreSQL for the tests: one server for a whole run, started by the runner (or by a test file that is run
 * alone), and a database of its own for each suite that asks.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { startCluster } from '../../deploy/local/postgres/cluster.js';
import { freePort } from './ports.js';
import { atEnd } from './suite.js';

/** The variable by which the runner hands its server to the test files. */
export const POSTGRES_URL = 'ENTREPOT_TEST_POSTGRES';

export interface TestPostgres {
  /** The URL of a database in which nothing is done but making others. */
  readonly url: string;
  stop(): Promise<void>;
}

export interface FreshDatabase {
  readonly url: string;
  /** Drops it at once, whoever is connected; otherwise that happens at the end of the suite. */
  drop(): Promise<void>;
}

/** Starts a server in a temporary folder. It gives up durability for speed: tests of that kill processes, not power. */
export async function startTestPostgres(port: number): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-postgres-'));
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  try {
    chmodSync(folder, 0o755);
    const cluster = await startCluster({
      folder: join(folder, 'postgres'),
      port,
      log: join(folder, 'postgres.log'),
      database: 'entrepot',
      settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', shared_buffers: '64MB' },
    });
    return { url: cluster.url, stop: () => cluster.stop('immediate').finally(removeFolder) };
  } catch (error) {
    removeFolder();
    throw error;
  }
}

let ownServer: Promise<TestPostgres> | undefined;

/** The URL of the run's server; a file that is run without the runner starts one, and ends it with itself. */
export async function startPostgres(): Promise<string> {
  const given = process.env[POSTGRES_URL];
  if (given !== undefined) return given;
  ownServer ??= startOwnServer();
  return (await ownServer).url;
}

async function startOwnServer(): Promise<TestPostgres> {
  const server = await startTestPostgres(await freePort());
  atEnd(async () => {
    ownServer = undefined;
    await server.stop();
  }, 'file');
  return server;
}

/** Makes an empty database; it is dropped at the end of the suite. */
export async function freshDatabase(): Promise<FreshDatabase> {
  const server = await startPostgres();
  const name = `test_${randomBytes(8).toString('hex')}`;
  await execute(server, `create database ${name}`);
  let dropped: Promise<void> | undefined;
  const drop = () => (dropped ??= execute(server, `drop database if exists ${name} with (force)`));
  atEnd(drop);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop };
}

async function execute(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
