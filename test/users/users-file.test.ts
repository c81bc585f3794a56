/** The users file: who, with which rights, and what is wrong with it, told by line and key and without a secret. */
import * as assert from 'uvu/assert';
import { hashPassword, mistakeInHash, verifyPassword } from '../../lib/users/password.js';
import { RepositorySet } from '../../lib/users/rights.js';
import type { Users } from '../../lib/users/users.js';
import { parseUsersFile, type UsersFileOptions } from '../../lib/users/users-file.js';
import { suite } from '../support/suite.js';

const test = suite('users: file');

const hash = '$argon2id$v=19$m=19456,t=2,p=1$MUxm/Xm3yJiMauYRKbDwvw$nJhGHVYdNYvrYoo9ImLw+AKX6vWxWFPkq1Lg32Qluhw';
const options: UsersFileOptions = { libraryNamespace: 'library', superUsers: [] };

function users(text: string, more: Partial<UsersFileOptions> = {}): Users {
  const result = parseUsersFile(text, { ...options, ...more });
  if ('mistakes' in result) throw new Error(result.mistakes.join('\n'));
  return result.users;
}

function mistakes(text: string): readonly string[] {
  const result = parseUsersFile(text, options);
  if (!('mistakes' in result)) throw new Error('it has no mistakes, but should have');
  return result.mistakes;
}

test('names, robots, and rights; who may push or delete may pull', () => {
  const found = users(`
# who signs in
alice:
  password: ${hash}
  pull: [node, other/*]
  push: [team/*]
team+deploy:
  password: '${hash}'
  delete: [team/app]
bob: {password: "${hash}"}
`);
  const alice = found.find('alice')?.rights;
  assert.ok(alice);
  assert.equal(
    ['library/node', 'other/a', 'team/app', 'team/a/b'].map(name => alice.pull.has(name)),
    [true, true, true, true],
  );
  assert.equal(
    ['node/x', 'library/nodes', 'teams/app', 'other', 'team'].map(name => alice.pull.has(name)),
    [false, false, false, false, false],
  );
  assert.ok(alice.push.has('team/app'));
  assert.not(alice.push.has('library/node'));
  assert.not(alice.delete.has('team/app'));
  const robot = found.find('team+deploy')?.rights;
  assert.equal(
    [robot?.pull.has('team/app'), robot?.push.has('team/app'), robot?.delete.has('team/app')],
    [true, false, true],
  );
  assert.ok(found.find('bob')?.rights.pull.isEmpty);
  assert.is(found.find('carol'), undefined);
  assert.is(users('{}').all.length, 0);
});

test('the namespace of names with one component is the configured one', () => {
  const found = users(`alice: {password: "${hash}", pull: [node]}`, { libraryNamespace: 'common' });
  assert.ok(found.find('alice')?.rights.pull.has('common/node'));
});

test('a superuser may do everything; one that is not in the file is told', () => {
  const text = `admin: {password: "${hash}"}`;
  const result = parseUsersFile(text, { ...options, superUsers: ['admin', 'root'] });
  if ('mistakes' in result) throw new Error(result.mistakes.join());
  assert.ok(result.users.find('admin')?.rights.delete.has('any/thing'));
  assert.is(result.notices.length, 1);
  assert.match(result.notices[0] ?? '', /root is one of SUPER_USERS/);
});

test('every mistake is told with its line and key, and nothing of a password', () => {
  const text = `alice:
  password: hunter2
  pull: [team/*, 'Team/x', '**']
  rights: [x]
Bob:
  password: $2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC
carol:
  pull: team/*
dave: secretword
erin:
  password: ${hash}
  push:
    - ok/x
    - //x*
`;
  const found = mistakes(text);
  const expected = [
    /^line 2: alice\.password: must be a hash that begins with \$argon2id\$; make one with 'entrepot users hash'$/,
    /^line 3: alice\.pull\.1: must be the name of a repository/,
    /^line 3: alice\.pull\.2: must be the name of a repository/,
    /^line 4: alice\.rights: unknown key; known are/,
    /^line 5: Bob: a name has/,
    /^line 6: Bob\.password: must be a hash/,
    /^line 7: carol\.password: must be a hash/,
    /^line 8: carol\.pull: must be a list/,
    /^line 9: dave: must be a mapping/,
    /^line 14: erin\.push\.1: must be the name/,
  ];
  for (const each of expected)
    assert.ok(
      found.some(line => each.test(line)),
      `${each}\n${found.join('\n')}`,
    );
  assert.is(found.length, expected.length, found.join('\n'));
  assert.not.match(found.join('\n'), /hunter2|secretword|c4WoMPo|MUxm/);
});

test('what is no mapping, and what is no YAML', () => {
  for (const text of ['', 'alice', '- alice', '# nothing but a remark\n']) {
    assert.match(mistakes(text).join(), 'the file must be a mapping', text);
  }
  assert.match(mistakes('alice: {password: *hunter2}').join(), /must stand in quotes/);
  assert.match(mistakes(`a1:\n  pull: []\n  pull: []\n`).join(), /line 3.*the key pull is given twice/);
});

test('a hash that cannot be checked, or costs too much, is a mistake', () => {
  assert.is(mistakeInHash(hash), undefined);
  const bad = [
    '',
    '$argon2id$',
    '$argon2id$v=19$m=19456,t=2,p=1$',
    hash.replace('argon2id', 'argon2i'),
    `${hash}!`,
    hash.slice(0, 60),
  ];
  for (const text of bad) assert.match(mistakeInHash(text) ?? '', 'must be a hash', text);
  for (const cost of ['m=4194304,t=2,p=1', 'm=19456,t=99,p=1']) {
    assert.match(mistakeInHash(hash.replace('m=19456,t=2,p=1', cost)) ?? '', 'asks for too much', cost);
  }
});

test('a hash is of its password only', async () => {
  const made = await hashPassword('pässword 1');
  assert.is(mistakeInHash(made), undefined);
  assert.ok(await verifyPassword(made, 'pässword 1'));
  assert.not(await verifyPassword(made, 'pässword 2'));
  assert.not.equal(made, await hashPassword('pässword 1'));
});

test('an unknown name is measured by a hash of the file, always the same', () => {
  const text = Array.from({ length: 20 }, (_, number) => `user${number}: {password: "${hash}"}`).join('\n');
  const found = users(text);
  const decoys = Array.from({ length: 100 }, (_, number) => found.decoy(`nobody${number}`)?.name);
  assert.ok(new Set(decoys).size > 5);
  assert.is(found.decoy('nobody7')?.name, decoys[7]);
  assert.is(users('{}').decoy('x'), undefined);
});

test('sets of repositories', () => {
  const parse = (text: string) => RepositorySet.parse(text, 'library');
  assert.ok(parse('*')?.has('any/thing'));
  assert.ok(parse('team/app-*')?.has('team/app-1'));
  assert.not(parse('team/app-*')?.has('team/ap'));
  for (const text of ['', '/*', 'a//*', 'Team/*', 'a b*', '*a', 'a*b', 'team/', '-*'])
    assert.is(parse(text), undefined, text);
  const both = parse('a/b')?.with(parse('c/*') ?? RepositorySet.none);
  assert.equal([both?.names, both?.prefixes], [['a/b'], ['c/']]);
});

test.run();
