/** Migrations and the connection: many processes at once, several hosts, outages. */
import { readdir } from 'node:fs/promises';
import pg from 'pg';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { Database, DatabaseUnavailable, hostsOf } from '../../lib/metadata/database.js';
import { migrate, waitForMigrations } from '../../lib/metadata/migrate.js';
import { quiet } from '../support/clients.js';
import { freePort } from '../support/ports.js';
import { freshDatabase } from '../support/postgres.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('metadata: schema and connection');

test('eight processes that migrate at once all succeed, and the schema is there once', async () => {
  const { url } = await freshDatabase();
  await Promise.all(Array.from({ length: 8 }, () => migrate(url, quiet)));
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query(
    'select count(*)::int as n, count(distinct name)::int as names from pgmigrations',
  );
  await client.end();
  assert.equal(rows[0].n, rows[0].names);
  assert.ok(rows[0].n >= 1);
});

test('migrations and files of functions are numbered, without a gap and without a number twice', async () => {
  for (const [folder, first] of [
    ['migrations', 1],
    ['functions', 0],
  ] as const) {
    const files = (await readdir(new URL(`../../../lib/metadata/${folder}`, import.meta.url))).sort();
    assert.equal(
      files.map(file => Number(file.split('_')[0])),
      files.map((_, index) => first + index),
      files.join(),
    );
  }
});

test('a process waits for migrations that another one runs', async () => {
  const { url } = await freshDatabase();
  const db = new Database({ url, listenUrl: url, poolSize: 2 }, quiet);
  try {
    let ready = false;
    const waiting = waitForMigrations(db, quiet).then(() => {
      ready = true;
    });
    await new Promise(resolve => setTimeout(resolve, 300));
    assert.not(ready);
    await migrate(url, quiet);
    await waiting;
  } finally {
    await db.close();
  }
});

/** A session of its own, as another program has one. */
async function session(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, query_timeout: 20_000 });
  await client.connect();
  return client;
}

test('a migration that waits for a table holds up nobody: it steps back, and tries again', async () => {
  const { url } = await freshDatabase();
  await migrate(url, quiet);
  const [backup, gateway] = [await session(url), await session(url)];
  try {
    await backup.query('begin');
    await backup.query('lock table activelocation in access share mode');
    let done = false;
    const migrating = migrate(url, quiet).then(() => {
      done = true;
    });
    const isWaiting = async () => {
      const { rows } = await gateway.query("select 1 from pg_locks where not granted and mode = 'AccessExclusiveLock'");
      return rows.length > 0;
    };
    assert.ok(await until(isWaiting, 5_000), 'it waits for the view that the other one holds');
    await gateway.query('select from activelocation');
    assert.not(done);
    await backup.query('commit');
    await migrating;
  } finally {
    await Promise.all([backup.end(), gateway.end()]);
  }
});

test('an older release leaves a newer database as it is, and says so when it is too old for it', async () => {
  const { url } = await freshDatabase();
  await migrate(url, quiet);
  const client = await session(url);
  const db = new Database({ url, listenUrl: url, poolSize: 1 }, quiet);
  try {
    await client.query("insert into pgmigrations (name, run_on) values ('9999_later', now())");
    const body = "create or replace function end_rescues() returns void language sql as 'select /* newer */'";
    await client.query(body);
    await migrate(url, quiet);
    const { rows } = await client.query("select prosrc from pg_proc where proname = 'end_rescues'");
    assert.match(rows[0].prosrc, 'newer');
    await waitForMigrations(db, quiet);

    await client.query('drop function end_rescues()');
    const said: string[] = [];
    const log = pino({ level: 'warn' }, { write: line => void said.push(JSON.parse(line).msg) });
    const expected = /newer release, which no longer has end_rescues: this release is too old/;
    await migrate(url, quiet).then(
      () => assert.unreachable(),
      error => assert.match(String(error), expected),
    );
    await waitForMigrations(db, log, AbortSignal.timeout(300)).catch(() => {});
    assert.match(said[0] ?? '', expected);
  } finally {
    await Promise.all([client.end(), db.close()]);
  }
});

test('a URL with several hosts becomes one URL each', () => {
  assert.equal(hostsOf('postgresql://u:p@a:1,b:2/db?sslmode=require'), [
    'postgresql://u:p@a:1/db?sslmode=require',
    'postgresql://u:p@b:2/db?sslmode=require',
  ]);
  assert.equal(hostsOf('postgresql://only/db'), ['postgresql://only/db']);
});

test('of several hosts, the one that answers and is writable is taken', async () => {
  const { url } = await freshDatabase();
  const dead = await freePort();
  const two = url.replace(/@([^/]*)\//, (_all, host) => `@127.0.0.1:${dead},${host}/`);
  const db = new Database({ url: two, listenUrl: two, poolSize: 2 }, quiet);
  try {
    assert.equal(await db.query('select 1 as one'), [{ one: 1 }]);
  } finally {
    await db.close();
  }
});

test('a server that is not there is DatabaseUnavailable, at once and without the password', async () => {
  const port = await freePort();
  const url = `postgresql://u:hunter2@127.0.0.1:${port}/x`;
  const db = new Database({ url, listenUrl: url, poolSize: 2 }, quiet);
  try {
    await db.query('select 1', [], { repeatable: true });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, DatabaseUnavailable);
    assert.not.match(String(error), 'hunter2');
  } finally {
    await db.close();
  }
});

test('a connection that the server ended is replaced for a statement that may run twice', async () => {
  const { url } = await freshDatabase();
  const db = new Database({ url, listenUrl: url, poolSize: 1 }, quiet);
  try {
    const [row] = await db.query('select pg_backend_pid() as pid');
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    await other.query('select pg_terminate_backend($1)', [row?.pid]);
    await other.end();
    assert.equal(await db.query('select 1 as one', [], { repeatable: true }), [{ one: 1 }]);
  } finally {
    await db.close();
  }
});

test('it may be closed more than once, whether it ever was connected or not', async () => {
  const { url } = await freshDatabase();
  for (const connected of [true, false]) {
    const db = new Database({ url, listenUrl: url, poolSize: 1 }, quiet);
    if (connected) await db.query('select 1');
    await Promise.all([db.close(), db.close()]);
    await db.close();
  }
});

test.run();
