/** The users file of a running process: read again however it changes; what has mistakes is not used. */
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { WatchedUsers } from '../../lib/users/watched-users.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('users: watched file');

const hash = '$argon2id$v=19$m=19456,t=2,p=1$MUxm/Xm3yJiMauYRKbDwvw$nJhGHVYdNYvrYoo9ImLw+AKX6vWxWFPkq1Lg32Qluhw';
const entry = (name: string) => `${name}: {password: "${hash}"}\n`;

async function open(file: string) {
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: line => void lines.push(line) });
  const watched = await WatchedUsers.open({ file, libraryNamespace: 'library', superUsers: [], log, lookEveryMs: 10 });
  atEnd(() => watched.close());
  return { watched, lines, has: (name: string) => until(async () => watched.current.find(name) !== undefined, 20_000) };
}

test('written over, replaced, and with mistakes', async () => {
  const file = join(await temporaryFolder('users'), 'users.yaml');
  await writeFile(file, entry('alice'));
  const { watched, lines, has } = await open(file);
  assert.ok(watched.current.find('alice'));

  await writeFile(file, entry('bobby'));
  assert.ok(await has('bobby'));
  assert.not(watched.current.find('alice'));

  await writeFile(file, `${entry('carol')}dave: {password: hunter2}\n`);
  assert.ok(await until(async () => lines.some(line => line.includes('has mistakes')), 20_000));
  assert.match(lines.join(''), /line 2: dave\.password: must be a hash/);
  assert.not.match(lines.join(''), 'hunter2');
  assert.ok(watched.current.find('bobby'));
  assert.not(watched.current.find('carol'));

  await rm(file);
  assert.ok(await until(async () => lines.some(line => line.includes('cannot be read')), 20_000));
  assert.ok(watched.current.find('bobby'));

  await writeFile(`${file}.new`, entry('erin'));
  await rename(`${file}.new`, file);
  assert.ok(await has('erin'));
});

test('a symbolic link that is turned to another folder, as Kubernetes does with Secrets', async () => {
  const folder = await temporaryFolder('users');
  for (const [version, name] of [
    ['one', 'alice'],
    ['two', 'bobby'],
  ] as const) {
    await mkdir(join(folder, version));
    await writeFile(join(folder, version, 'users.yaml'), entry(name));
  }
  await symlink('one', join(folder, '..data'));
  await symlink('..data/users.yaml', join(folder, 'users.yaml'));
  const { has } = await open(join(folder, 'users.yaml'));
  await symlink('two', join(folder, '..new'));
  await rename(join(folder, '..new'), join(folder, '..data'));
  assert.ok(await has('bobby'));
});

test('a process does not start with a file that cannot be used', async () => {
  const file = join(await temporaryFolder('users'), 'users.yaml');
  const why = () =>
    open(file).then(
      () => 'it starts',
      error => String(error),
    );
  assert.match(await why(), /cannot be read \(ENOENT\): see ENTREPOT_USERS_FILE/);
  await writeFile(file, 'alice: {password: hunter2}\n');
  assert.match(await why(), /users file .* cannot be used\n {2}line 1: alice\.password: must be a hash/);
});

test.run();
