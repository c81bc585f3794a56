/**
 * Brings the database to this release's schema, and lets processes wait until somebody has.
 *
 * `migrations/` holds numbered, immutable steps, run by node-pg-migrate. `functions/` holds the statements that need
 * several steps in one round trip; they are replaced as a whole at each run. A function's meaning or parameters never
 * change under a running release: a new one gets a new name, and the old one goes a release later.
 */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import type { Logger } from 'pino';
import { connectOnce, type Database, type Row } from './database.js';

const MIGRATIONS = fileURLToPath(new URL('../../../lib/metadata/migrations', import.meta.url));
const FUNCTIONS = fileURLToPath(new URL('../../../lib/metadata/functions', import.meta.url));
const TABLE = 'pgmigrations';

/** Held while migrating, so that many processes may begin at once: the others wait, and then find nothing to do. */
const LOCK = 0x656e7472;

/** Runs what is missing. Safe when many processes do it at once. Rejects with what the database said. */
export async function migrate(databaseUrl: string, log: Logger): Promise<void> {
  const client = await connectOnce(databaseUrl, 'entrepot migrate');
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK]);
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
        error: message => log.error(message),
      },
    });
    for (const file of (await readdir(FUNCTIONS)).sort()) {
      await client.query(await readFile(`${FUNCTIONS}/${file}`, 'utf8'));
    }
    log.info('the database has the schema of this release');
  } finally {
    await client.end();
  }
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
export async function missingNames(
  { migrations, functions }: ReleaseNames,
  query: (text: string, values?: unknown[]) => Promise<Row[]>,
): Promise<string[]> {
  const [table] = await query('select to_regclass($1) is not null as there', [TABLE]);
  const done = table?.there ? await query(`select name from ${TABLE}`) : [];
  const made = await query('select proname as name from pg_proc where proname = any ($1)', [functions]);
  const there = new Set([...done, ...made].map(row => row.name));
  return [...migrations, ...functions].filter(name => !there.has(name));
}

async function whatIsMissing(db: Database, release: ReleaseNames): Promise<string | undefined> {
  try {
    const missing = await missingNames(release, (text, values) => db.query(text, values));
    return missing.length === 0 ? undefined : `${missing.join(', ')} not there yet: run "entrepot migrate"`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function functionNames(): Promise<string[]> {
  const files = await Promise.all((await readdir(FUNCTIONS)).map(file => readFile(`${FUNCTIONS}/${file}`, 'utf8')));
  return files.flatMap(text => [...text.matchAll(/^create or replace function (\w+)/gm)].map(match => match[1] ?? ''));
}
