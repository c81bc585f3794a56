/**
 * A PostgreSQL server of Debian's, for tests that need its other programs (pg_dump, pg_restore): those that come from npm
 * are the server alone. A suite that uses it says so: `suite(name, { needs: ['postgresql'] })`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, readdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { run } from './command.js';
import { findCommand } from './needs.js';
import { freePort } from './ports.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';
import { until } from './wait.js';

export interface DebianPostgres {
  /** The URL of a database that is there; another one has another path. */
  readonly url: string;
}

/** Debian keeps the server's programs of each version in a folder of its own. */
const VERSIONS = '/usr/lib/postgresql';

/** Starts a server; it is ended at the end of the suite. It gives up durability for speed. */
export async function startDebianPostgres(): Promise<DebianPostgres> {
  const bin = await programs();
  const folder = await temporaryFolder('debian-postgres');
  const data = join(folder, 'data');
  // PostgreSQL refuses to be run by root; the package has made a user for it.
  const isRoot = process.getuid?.() === 0;
  const ids = isRoot ? await idsOf('postgres') : undefined;
  if (ids) {
    await chown(folder, ids.uid, ids.gid);
    await chmod(folder, 0o755);
  }
  const port = await freePort();
  const asUser = { cwd: folder, ...ids };
  const made = spawn(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-N', '--locale=C'], {
    ...asUser,
    stdio: 'ignore',
  });
  const [code] = await once(made, 'exit');
  if (code !== 0) throw new Error(`initdb ended with ${code}`);
  const settings = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off', 'unix_socket_directories='];
  const server = spawn(
    join(bin, 'postgres'),
    ['-D', data, '-p', String(port), '-h', '127.0.0.1', ...settings.flatMap(setting => ['-c', setting])],
    { ...asUser, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let log = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-10_000);
  });
  const exited = once(server, 'exit');
  atEnd(async () => {
    if (server.exitCode === null && server.signalCode === null) server.kill('SIGQUIT');
    await exited;
  });
  const url = `postgresql://postgres@127.0.0.1:${port}/postgres`;
  if (!(await until(() => server.exitCode !== null || answers(url), 20_000)) || server.exitCode !== null)
    throw new Error(`PostgreSQL did not start:\n${log}`);
  return { url };
}

/** Where the server's programs are: on Debian not in the PATH, elsewhere beside pg_dump. */
async function programs(): Promise<string> {
  const versions = (await readdir(VERSIONS).catch(() => [])).map(Number).filter(Number.isInteger);
  if (versions.length > 0) return join(VERSIONS, String(Math.max(...versions)), 'bin');
  return dirname(await realpath(findCommand('pg_dump') ?? ''));
}

async function idsOf(user: string): Promise<{ uid: number; gid: number }> {
  const [uid, gid] = await Promise.all(['-u', '-g'].map(async what => Number(await run('id', [what, user]))));
  return { uid: uid ?? 0, gid: gid ?? 0 };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
