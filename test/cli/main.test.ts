import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { commands } from '../../cli/commands/all.js';
import { command } from '../support/command-line.js';
import { entrepot } from '../support/entrepot.js';
import { suite } from '../support/suite.js';

const test = suite('cli: main');

const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string;
  bin: { entrepot: string };
};

test('--help lists every command, and every command has its own', async () => {
  const { status, stdout } = entrepot(['--help']);
  assert.is(status, 0);
  const listed = [...stdout.matchAll(/^ {2}(\S+(?: \S+)?) {2,}\S/gm)].map(match => match[1] ?? '');
  assert.equal(
    listed,
    commands.map(({ name }) => name),
  );
  for (const name of listed) {
    const help = await command([...name.split(' '), '--help']);
    assert.is(help.status, 0, name);
    assert.match(help.stdout, new RegExp(`^Usage: entrepot ${name} `));
    assert.match(help.stdout, '-h, --help');
    assert.is(help.stderr, '');
    assert.ok(
      help.lines.every(line => line.startsWith('Usage: ') || line.length <= 110),
      `${name}: too wide`,
    );
  }
  assert.match(entrepot(['config', '--help']).stdout, 'config check');
});

test('--version tells the version of the package', () => {
  assert.equal(entrepot(['--version']), { status: 0, stdout: `${manifest.version}\n`, stderr: '' });
});

test('the package offers the command', () => {
  const main = readFileSync(new URL(`../../../${manifest.bin.entrepot}`, import.meta.url), 'utf8');
  assert.ok(main.startsWith('#!/usr/bin/env node\n'));
});

test('what is no command: exit 2, on standard error', () => {
  for (const [args, expected] of [
    [[], /no command is given\nTry 'entrepot --help'/],
    [['serve'], /there is no command serve\nTry 'entrepot --help'/],
    [['--serve'], /unknown option --serve/],
    [['config'], /config needs one of: check, keys\nTry 'entrepot config --help'/],
    [['config', 'cheque'], /config needs one of: check/],
    [['pause'], /pause needs one LOCATION\nTry 'entrepot pause --help'/],
  ] as const) {
    const { status, stdout, stderr } = entrepot([...args]);
    assert.is(status, 2);
    assert.is(stdout, '');
    assert.match(stderr, expected);
  }
});

test.run();
