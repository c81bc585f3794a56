import { Client } from 'pg';
import * as assert from 'uvu/assert';
import { withFile } from '../support/config.js';
import { entrepot } from '../support/entrepot.js';
import { freshDatabase } from '../support/postgres.js';
import { suite } from '../support/suite.js';

const test = suite('cli: migrate');

async function tables(url: string): Promise<string[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      "select tablename as name from pg_tables where schemaname = 'public'",
    );
    return rows.map(row => row.name);
  } finally {
    await client.end();
  }
}

test('makes the tables, a second time finds nothing to do, and logs JSON into a pipe', async () => {
  const { url } = await freshDatabase();
  assert.equal(await tables(url), []);
  for (const round of [1, 2]) {
    withFile(`DB_URI: ${url}\n`, file => {
      const { status, stdout, stderr } = entrepot(['migrate', '--config', file]);
      assert.is(status, 0, `round ${round}: ${stderr}${stdout}`);
      assert.is((JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as { name?: string }).name, 'migrate');
    });
    const names = await tables(url);
    for (const name of ['repository', 'manifest', 'tag', 'imagestorage', 'imagestorageplacement', 'replication'])
      assert.ok(names.includes(name), name);
  }
});

test('a database that cannot be reached: exit 1, and no password', () => {
  withFile('DB_URI: postgresql://entrepot:hunter2@127.0.0.1:1/entrepot\n', file => {
    const { status, stdout, stderr } = entrepot(['migrate', '--config', file]);
    assert.is(status, 1);
    assert.match(stderr, /^entrepot: .*127\.0\.0\.1:1/);
    assert.not.match(stdout + stderr, 'hunter2');
  });
});

test('a configuration without a database: exit 1, by key', () => {
  withFile('SERVER_HOSTNAME: registry.example.com\n', file => {
    const { status, stderr } = entrepot(['migrate', '--config', file]);
    assert.is(status, 1);
    assert.match(stderr, /^ {2}DB_URI: is missing/m);
  });
});

test.run();
