import * as assert from 'uvu/assert';
import { withFile } from '../support/config.js';
import { entrepot } from '../support/entrepot.js';
import { freshDatabase } from '../support/postgres.js';
import { suite } from '../support/suite.js';

const test = suite('cli: config check --live');

function check(text: string) {
  return withFile(text, file => entrepot(['config', 'check', '--live', '--role', 'cli', '--config', file]));
}

test('no schema, no Redis, no node, no worker: all at once, by key, without a password', async () => {
  const { url } = await freshDatabase();
  const { status, stderr } = check(`
DB_URI: ${url}
ENTREPOT_DB_LISTEN_URI: postgresql://entrepot:hunter2@127.0.0.1:1/entrepot
USER_EVENTS_REDIS: {host: 127.0.0.1, port: 1, password: hunter2}
DISTRIBUTED_STORAGE_CONFIG: {usstorage: [LocalStorage, {storage_path: /us}]}
ENTREPOT_LOCATIONS: {usstorage: {nodes: ['127.0.0.1:1']}}
ENTREPOT_ADMIN_SERVERS: ['127.0.0.1:1']
`);
  assert.is(status, 1);
  assert.match(stderr, /: 5 problems$/m);
  for (const expected of [
    /^ {2}DB_URI: 0001_registry.* not there yet: run "entrepot migrate"$/m,
    /^ {2}ENTREPOT_DB_LISTEN_URI: PostgreSQL is unavailable: .*127\.0\.0\.1:1/m,
    /^ {2}USER_EVENTS_REDIS \(or BUILDLOGS_REDIS\): 127\.0\.0\.1:1: .*ECONNREFUSED/m,
    /^ {2}ENTREPOT_LOCATIONS\.usstorage\.nodes\[0\]: the node at 127\.0\.0\.1:1 does not answer: .*ECONNREFUSED/m,
    /^ {2}ENTREPOT_ADMIN_SERVERS\[0\]: the worker at 127\.0\.0\.1:1 does not answer: .*ECONNREFUSED/m,
  ])
    assert.match(stderr, expected);
  assert.not.match(stderr, 'hunter2');
});

test('the users file that gateways would not start with', async () => {
  const { url } = await freshDatabase();
  const look = (users: string) =>
    withFile(users, usersFile =>
      withFile(
        `
DB_URI: ${url}
DISTRIBUTED_STORAGE_CONFIG: {usstorage: [LocalStorage, {storage_path: /us}]}
ENTREPOT_LOCATIONS: {usstorage: {nodes: ['127.0.0.1:1']}}
ENTREPOT_USERS_FILE: ${usersFile}
DATABASE_SECRET_KEY: 0123456789abcdef0123456789abcdef
`,
        file => entrepot(['config', 'check', '--live', '--role', 'gateway', '--config', file]),
      ),
    );
  const wrong = look('alice: {password: plain}\n');
  assert.is(wrong.status, 1);
  assert.match(wrong.stderr, /^ {2}ENTREPOT_USERS_FILE: line 1: alice\.password: must be a hash/m);
  assert.match(look('{}\n').stdout, /^ {2}users +0 users in /m);
});

test.run();
