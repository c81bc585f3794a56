/** TLS to PostgreSQL: what each `sslmode` means, with a real server. */
import { chown, copyFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { connectOnce, Database, DatabaseUnavailable } from '../../lib/metadata/database.js';
import { TestAuthority } from '../support/certificates.js';
import { load, TWO_LOCATIONS } from '../support/config.js';
import { freshDatabase, startPostgres } from '../support/postgres.js';
import { atEnd, suite } from '../support/suite.js';
import { soon } from '../support/wait.js';

const test = suite('metadata: TLS');
let url: string;
let ours: TestAuthority;
let ca: string;
let wrongCa: string;
let admin: pg.Client;

/** A server may offer TLS from one moment to the next; those who do not ask for it notice nothing. */
async function offer(hosts: readonly string[]): Promise<void> {
  const { cert, key } = await ours.files('gateway', 'postgres', hosts);
  const [{ data_directory: data }] = (await admin.query('show data_directory')).rows;
  const { uid, gid } = await stat(data);
  if (process.getuid?.() === 0) await chown(key, uid, gid);
  for (const [name, value] of [
    ['ssl_cert_file', cert],
    ['ssl_key_file', key],
    ['ssl', 'on'],
  ]) {
    await admin.query(`alter system set ${name} = '${value}'`);
  }
  await reload('on');
}

async function reload(wanted: 'on' | 'off'): Promise<void> {
  await admin.query('select pg_reload_conf()');
  await soon('the new settings', async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      assert.is((await client.query('show ssl')).rows[0].ssl, wanted);
    } finally {
      await client.end();
    }
  });
}

test.before(async () => {
  ours = await TestAuthority.make();
  wrongCa = (await (await TestAuthority.make()).files('gateway')).ca;
  url = (await freshDatabase()).url;
  admin = new pg.Client({ connectionString: await startPostgres() });
  await admin.connect();
  atEnd(async () => {
    for (const name of ['ssl', 'ssl_cert_file', 'ssl_key_file']) await admin.query(`alter system reset ${name}`);
    await reload('off');
    await admin.end();
  });
});

function open(query: string, host = '127.0.0.1'): Database {
  const text = url.replace('127.0.0.1', host) + (query ? `?${query}` : '');
  const db = new Database({ url: text, listenUrl: text, poolSize: 1 }, pino({ level: 'silent' }));
  atEnd(() => db.close());
  return db;
}

/** Whether the connection is encrypted, or why there is none. */
async function outcome(db: Database): Promise<boolean | string> {
  try {
    const [row] = await db.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    return row?.ssl === true;
  } catch (error) {
    assert.instance(error, DatabaseUnavailable);
    return String(error);
  }
}

test('a server without TLS: what asks for it gets no connection, what prefers it gets one without', async () => {
  for (const query of ['', 'sslmode=disable', 'sslmode=allow', 'sslmode=prefer'])
    assert.is(await outcome(open(query)), false, query);
  for (const query of ['sslmode=require', 'sslmode=verify-full'])
    assert.match(String(await outcome(open(query))), 'does not support SSL', query);
});

test('a server with TLS: only the right authority and the right host will do for who asks for that', async () => {
  await offer(['localhost']);
  ca = join(ours.folder, 'gateway-postgres/ca.crt');
  assert.is(await outcome(open('sslmode=disable')), false);
  assert.is(await outcome(open('sslmode=prefer')), true);
  assert.is(await outcome(open('sslmode=require')), true);
  assert.is(await outcome(open(`sslmode=require&sslrootcert=${ca}`)), true);
  assert.is(await outcome(open(`sslmode=verify-ca&sslrootcert=${ca}`)), true);
  assert.is(await outcome(open(`sslmode=verify-full&sslrootcert=${ca}`, 'localhost')), true);
  assert.match(String(await outcome(open(`sslmode=verify-full&sslrootcert=${ca}`))), /altnames|cert's list/);
  for (const mode of ['require', 'verify-ca', 'verify-full'])
    assert.match(
      String(await outcome(open(`sslmode=${mode}&sslrootcert=${wrongCa}`, 'localhost'))),
      'certificate',
      mode,
    );
  assert.match(String(await outcome(open('sslmode=verify-full', 'localhost'))), 'certificate');
});

test('an authority and a certificate that are replaced are used at the next connection', async () => {
  await offer(['127.0.0.1']);
  const file = join(ours.folder, 'current.crt');
  await copyFile(wrongCa, file);
  const db = open(`sslmode=verify-full&sslrootcert=${file}`);
  assert.match(String(await outcome(db)), 'certificate');
  await writeFile(file, ours.authority.cert);
  assert.is(await outcome(db), true);
});

test('the connection for LISTEN, several hosts, and what DB_CONNECTION_ARGS says', async () => {
  const client = await connectOnce(`${url}?sslmode=verify-full&sslrootcert=${ca}`, 'test');
  await client.end();
  const failure = await connectOnce(`${url}?sslmode=verify-full&sslrootcert=${wrongCa}`, 'test').catch(error => error);
  assert.instance(failure, DatabaseUnavailable);
  const { host } = new URL(url);
  const args = (given: string) =>
    load(
      TWO_LOCATIONS.replace(
        /DB_URI: .*/,
        `DB_URI: ${url.replace(host, `127.0.0.1:1,${host}`)}\nDB_CONNECTION_ARGS: ${given}`,
      ),
    ).database?.url ?? '';
  for (const given of [`{sslmode: verify-full, sslrootcert: ${ca}}`, `{ssl: {ca: ${ca}}}`]) {
    const db = new Database({ url: args(given), listenUrl: '', poolSize: 1 }, pino({ level: 'silent' }));
    atEnd(() => db.close());
    assert.is(await outcome(db), true, given);
  }
  assert.match(args(`{ssl: {ca: ${ca}}}`), 'sslmode=verify-full');
});

test('a file that is not there is named', async () => {
  const failure = await open('sslmode=verify-full&sslrootcert=/no/such/file').query('select 1').catch(String);
  assert.match(String(failure), /\/no\/such\/file, which sslrootcert names, cannot be read \(ENOENT\)/);
});

test.run();
