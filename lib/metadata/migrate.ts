/**
 * Brings the database to this release's schema, and lets processes wait until somebody has.
 *
 * `migrations/` holds numbered, immutable steps, run by node-pg-migrate. `functions/` holds the statements that need
 * several steps in one round trip; they are replaced as a whole at each run. A function's meaning or parameters never
 * change under a running release: a new one gets a new name, and the old one goes a release later.
 *
 * It runs beside a registry that serves. Whoever waits for the lock of a table keeps everybody who comes after it waiting,
 * too, so no step waits for long: a backup (pg_dump holds every table that it reads) delays the migration, and nothing else.
 */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import type { Client } from 'pg';
import type { Logger } from 'pino';
import { connectOnce, type Database, type Row } from './database.js';
import { asText } from './row.js';

const MIGRATIONS = fileURLToPath(new URL('../../../lib/metadata/migrations', import.meta.url));
const FUNCTIONS = fileURLToPath(new URL('../../../lib/metadata/functions', import.meta.url));
const TABLE = 'pgmigrations';

/** Held while migrating, so that many processes may begin at once: the others wait, and then find nothing to do. */
const LOCK = 0x656e7472;

/** How long a step waits for a lock; then it is undone, and tried again after a pause. */
const LOCK_WAIT_MS = 2_000;
const LOCK_PAUSE_MS = 2_000;
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Runs what is missing. Safe when many processes do it at once. A database of a newer release is left as it is: its
 * functions are better than ours. Rejects with what the database said, or if a newer release has left ours behind.
 */
export async function migrate(databaseUrl: string, log: Logger): Promise<void> {
  const client = await connectOnce(databaseUrl, 'entrepot migrate');
  try {
    // Others may hold it for as long as they migrate.
    await client.query('select pg_advisory_lock($1)', [LOCK]);
    await client.query(`set lock_timeout = ${LOCK_WAIT_MS}`);
    await untilLocksAreFree(() => runMigrations(client, log), log);
    const query = async (text: string, values: unknown[] = []) => (await client.query<Row>(text, values)).rows;
    const release = await releaseNames();
    const newer = await newerMigrations(release, query);
    if (newer.length > 0) {
      const missing = await missingNames(release, query);
      if (missing.length > 0) throw new Error(leftBehind(missing));
      log.info(`the database is of a newer release, which has ${newer.join(', ')}: it is left as it is`);
      return;
    }
    for (const file of (await readdir(FUNCTIONS)).sort()) {
      const text = await readFile(`${FUNCTIONS}/${file}`, 'utf8');
      await untilLocksAreFree(() => client.query(text), log);
    }
    log.info('the database has the schema of this release');
  } finally {
    await client.end();
  }
}

async function runMigrations(client: Client, log: Logger): Promise<void> {
  await runner({
    dbClient: client,
    dir: MIGRATIONS,
    migrationsTable: TABLE,
    direction: 'up',
    noLock: true,
    checkOrder: true,
    log: () => {},
    logger: {
      debug: message => log.debug(message),
      info: message => log.debug(message),
      warn: message => log.warn(message),
      // It is thrown, too.
      error: message => log.debug(message),
    },
  });
}

/** Each try is a transaction of its own: what waited for a lock for too long is undone. */
async function untilLocksAreFree(work: () => Promise<unknown>, log: Logger): Promise<void> {
  for (let round = 0; ; round++) {
    try {
      await work();
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === LOCK_NOT_AVAILABLE)) throw error;
      if (round % 10 === 0) log.warn('waiting for a table that another session holds, such as a backup by pg_dump');
    }
    await sleep(LOCK_PAUSE_MS * (0.5 + Math.random()));
  }
}

function leftBehind(missing: readonly string[]): string {
  return `the database is of a newer release, which no longer has ${missing.join(', ')}: this release is too old for it`;
}

const LOOK_AGAIN_MS = 1_000;

/** Resolves when the database has all migrations of this release; says now and then what it waits for. */
export async function waitForMigrations(db: Database, log: Logger, signal?: AbortSignal): Promise<void> {
  const release = await releaseNames();
  for (let round = 0; ; round++) {
    const missing = await whatIsMissing(db, release);
    if (missing === undefined) return;
    if (round % 10 === 0) log.warn(`waiting for the database: ${missing}`);
    await sleep(LOOK_AGAIN_MS, undefined, { signal });
  }
}

type Query = (text: string, values?: unknown[]) => Promise<Row[]>;

/** What this release needs of the database. */
export interface ReleaseNames {
  readonly migrations: readonly string[];
  readonly functions: readonly string[];
}

export async function releaseNames(): Promise<ReleaseNames> {
  const migrations = (await readdir(MIGRATIONS)).map(file => file.replace(/\.sql$/, ''));
  return { migrations, functions: await functionNames() };
}

/** What of it the database does not have, asked with `query`. */
export async function missingNames({ migrations, functions }: ReleaseNames, query: Query): Promise<string[]> {
  const [table] = await query('select to_regclass($1) is not null as there', [TABLE]);
  const done = table?.there ? await query(`select name from ${TABLE}`) : [];
  const made = await query('select proname as name from pg_proc where proname = any ($1)', [functions]);
  const there = new Set([...done, ...made].map(row => row.name));
  return [...migrations, ...functions].filter(name => !there.has(name));
}

/** The migrations that the database has and this release does not know. */
async function newerMigrations({ migrations }: ReleaseNames, query: Query): Promise<string[]> {
  const done = await query(`select name from ${TABLE} order by name`);
  return done.map(row => asText(row, 'name')).filter(name => !migrations.includes(name));
}

async function whatIsMissing(db: Database, release: ReleaseNames): Promise<string | undefined> {
  try {
    const query: Query = (text, values) => db.query(text, values);
    const missing = await missingNames(release, query);
    if (missing.length === 0) return undefined;
    const isNewer = await newerMigrations(release, query).then(
      newer => newer.length > 0,
      () => false,
    );
    return isNewer ? leftBehind(missing) : `${missing.join(', ')} not there yet: run "entrepot migrate"`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function functionNames(): Promise<string[]> {
  const files = await Promise.all((await readdir(FUNCTIONS)).map(file => readFile(`${FUNCTIONS}/${file}`, 'utf8')));
  return files.flatMap(text => [...text.matchAll(/^create or replace function (\w+)/gm)].map(match => match[1] ?? ''));
}
