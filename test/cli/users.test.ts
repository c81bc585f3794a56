/** `entrepot users`: what it writes can be used as it stands. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { verifyPassword } from '../../lib/users/password.js';
import { entrepot } from '../support/entrepot.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('cli: users');
const main = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

function hash(input: string, ...args: string[]) {
  return spawnSync(process.execPath, [main, 'users', 'hash', ...args], { input, encoding: 'utf8', timeout: 10_000 });
}

test('a password from standard input becomes an entry that the check takes', async () => {
  const { status, stdout } = hash('s3cret word\n', '--user', 'team+deploy');
  assert.is(status, 0);
  const file = join(await temporaryFolder('users'), 'users.yaml');
  writeFileSync(file, stdout.replace('push: []', 'push: [team/*]'));
  const checked = entrepot(['users', 'check', file]);
  assert.is(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, `${file}: ok\n  team+deploy     pull team/*; push team/*\n`);
  const made = /password: (\S+)/.exec(stdout)?.[1] ?? '';
  assert.ok(await verifyPassword(made, 's3cret word'));
  assert.not.match(stdout, 's3cret');
});

test('a password that cannot be used', () => {
  for (const [input, expected] of [
    ['\n', /the password is empty/],
    ['a\nb\n', /more than one line/],
  ] as const) {
    const { status, stdout, stderr } = hash(input);
    assert.is(status, 1);
    assert.is(stdout, '');
    assert.match(stderr, expected);
  }
  assert.is(hash('x', '--user', 'Not A Name').status, 2);
});

test('a file with mistakes: each with its line, exit 1; no file: exit 2', async () => {
  const file = join(await temporaryFolder('users'), 'users.yaml');
  writeFileSync(file, 'alice:\n  password: hunter2\n  pul: []\n');
  const { status, stdout, stderr } = entrepot(['users', 'check', file]);
  assert.is(status, 1);
  assert.is(stdout, '');
  assert.match(stderr, /line 2: alice\.password: must be a hash/);
  assert.match(stderr, /line 3: alice\.pul: unknown key/);
  assert.not.match(stderr, 'hunter2');
  assert.is(entrepot(['users', 'check']).status, 2);
  assert.match(
    entrepot(['users', 'check', '/nowhere/users.yaml']).stderr,
    /\/nowhere\/users.yaml cannot be read \(ENOENT\)/,
  );
});

test.run();
