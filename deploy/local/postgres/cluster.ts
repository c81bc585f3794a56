/**
 * A PostgreSQL server on this machine, made on first use and kept between starts.
 *
 * It listens on 127.0.0.1 only, with a random password: every user of the machine can reach that port, and a superuser
 * of PostgreSQL may run programs as the user whom it runs as.
 */
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chownSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { LocalError } from '../errors.js';
import { binaryEnvironment } from './binaries.js';
import { type Home, openHome, withPlainPath } from './home.js';
import { invocation } from './identity.js';
import { type KeptProgram, keep } from './kept.js';
import { clearStalePidFile, isPostmasterOf, postmasterPid } from './postmaster.js';

export interface ClusterOptions {
  /** The folder for everything of it; made if absent. */
  readonly folder: string;
  readonly port: number;
  /** Its log is appended to this file. */
  readonly log: string;
  /** The database that is made if it is absent. */
  readonly database: string;
  /** Added to its settings. Without any, it is as durable as PostgreSQL is by itself (`fsync` on). */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface Cluster {
  /** `postgresql://…` of the database. Holds the password. */
  readonly url: string;
  /** The server's process id, while it runs. */
  readonly pid: number | undefined;
  /** How root got around PostgreSQL's refusal of root; see identity.ts. */
  readonly runsAs: string;
  /** The server's exit code, whenever it ends. */
  readonly exited: Promise<number>;
  /** Ends it: fast (sessions are cut, data written out), or immediately (recovers at the next start). */
  stop(manner?: 'fast' | 'immediate'): Promise<void>;
}

const USER = 'postgres';
const READY_WITHIN_MS = 60_000;

/** Starts PostgreSQL and waits until it answers. Errors are {@link LocalError}s that say what to do. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const home = openHome(options.folder);
  const data = join(home.folder, 'data');
  if (!existsSync(join(data, 'PG_VERSION'))) await initialize(home, data, options);
  const password = checkData(home, data);
  await clearStalePidFile(data);

  const logged = sizeOf(options.log);
  const server = keep({
    ...invocation(home.identity, join(home.native, 'bin', 'postgres'), ['-D', data, ...settingsOf(options)]),
    cwd: data,
    env: binaryEnvironment(),
    log: options.log,
  });
  const cluster = clusterOf(options, home, data, server, urlOf(options.port, password, options.database));
  try {
    await waitUntilReady(options, server, urlOf(options.port, password, 'postgres'), logged);
    await createDatabase(urlOf(options.port, password, 'postgres'), options.database);
  } catch (error) {
    await cluster.stop('immediate');
    throw error;
  }
  return cluster;
}

function clusterOf(options: ClusterOptions, home: Home, data: string, server: KeptProgram, url: string): Cluster {
  return {
    url,
    get pid() {
      return postmasterPid(data);
    },
    runsAs: home.folder === options.folder ? home.identity.kind : `${home.identity.kind}, in ${home.folder}`,
    exited: server.exited.then(code => {
      // Only if the keeper itself was killed is the server still there: nobody would end it later.
      const pid = postmasterPid(data);
      if (pid !== undefined && isPostmasterOf(pid, data)) process.kill(pid, 'SIGQUIT');
      return code;
    }),
    stop: async (manner = 'fast') => {
      if (server.isRunning()) server.end(manner);
      const timer = setTimeout(() => server.end('immediate'), 15_000);
      await server.exited;
      clearTimeout(timer);
    },
  };
}

/** Makes a new cluster. It gets its name only when it is complete, so that half of one is never used. */
async function initialize(home: Home, data: string, options: ClusterOptions): Promise<void> {
  const unfinished = `${data}.unfinished`;
  const passwordFile = join(home.folder, 'password');
  const handedOver = join(home.folder, 'password.initdb');
  if (existsSync(data)) throw new LocalError(`${data} holds no PostgreSQL data (no PG_VERSION). Remove that folder.`);
  rmSync(unfinished, { recursive: true, force: true });
  const password = randomBytes(24).toString('base64url');
  writeFileSync(passwordFile, password, { mode: 0o600 });
  rmSync(handedOver, { force: true });
  writeFileSync(handedOver, password, { mode: 0o600 });
  if (process.getuid?.() === 0) chownSync(handedOver, home.identity.uid, home.identity.gid);
  const parameters = [
    ...['-D', unfinished, '-U', USER, '--encoding=UTF8', '--no-locale'],
    ...['--auth=scram-sha-256', `--pwfile=${handedOver}`],
    ...(options.settings?.fsync === 'off' ? ['--no-sync'] : []),
  ];
  const logged = sizeOf(options.log);
  const code = await withPlainPath(home.native, native => {
    const initdb = keep({
      ...invocation(home.identity, join(native, 'bin', 'initdb'), parameters),
      cwd: join(home.folder, 'lib'),
      env: binaryEnvironment(),
      log: options.log,
    });
    return initdb.exited;
  });
  rmSync(handedOver, { force: true });
  if (code !== 0) throw new LocalError(`initdb failed (exit code ${code}):\n${logSince(options.log, logged)}`);
  renameSync(unfinished, data);
}

/** Refuses data that these binaries cannot use; returns the password that belongs to the data. */
function checkData(home: Home, data: string): string {
  const version = readFileSync(join(data, 'PG_VERSION'), 'utf8').trim();
  if (version !== String(home.major)) {
    throw new LocalError(
      `The data in ${data} are of PostgreSQL ${version}, and the installed one is PostgreSQL ${home.major}, which cannot read them. Go back to the version of Entrepot that made them, or move that folder away to begin with an empty database.`,
    );
  }
  const path = join(home.folder, 'password');
  if (!existsSync(path)) throw new LocalError(`${path} is gone, and without it the data beside it cannot be used.`);
  return readFileSync(path, 'utf8').trim();
}

function settingsOf(options: ClusterOptions): string[] {
  const settings = {
    port: String(options.port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...options.settings,
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

function urlOf(port: number, password: string, database: string): string {
  return `postgresql://${USER}:${password}@127.0.0.1:${port}/${database}`;
}

async function waitUntilReady(options: ClusterOptions, server: KeptProgram, url: string, logged: number) {
  const deadline = Date.now() + READY_WITHIN_MS;
  let last: unknown;
  while (Date.now() < deadline) {
    if (!server.isRunning()) {
      throw new LocalError(`PostgreSQL ended while starting. Its log says:\n${logSince(options.log, logged)}`);
    }
    try {
      await query(url, 'select 1');
      return;
    } catch (error) {
      last = error;
    }
    await sleep(30);
  }
  throw new LocalError(
    `PostgreSQL did not answer on 127.0.0.1:${options.port} within ${READY_WITHIN_MS / 1000} s (${String(last)}). Its log says:\n${logSince(options.log, logged)}`,
  );
}

async function createDatabase(url: string, name: string): Promise<void> {
  const found = await query(url, 'select 1 from pg_database where datname = $1', [name]);
  if (found === 0) await query(url, `create database "${name}"`);
}

/** Runs one statement on a connection of its own; returns the number of rows. */
async function query(url: string, sql: string, values: readonly unknown[] = []): Promise<number> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query(sql, [...values])).rowCount ?? 0;
  } finally {
    await client.end().catch(() => {});
  }
}

function sizeOf(path: string): number {
  appendFileSync(path, '', { mode: 0o600 });
  return statSync(path).size;
}

/** The end of what was logged after the file had `size` bytes. */
function logSince(path: string, size: number): string {
  const lines = readFileSync(path).subarray(size).toString().trim().split('\n');
  return lines
    .slice(-20)
    .map(line => `  ${line}`)
    .join('\n');
}
