import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { commandHelp } from '../../cli/command.js';
import { commands } from '../../cli/commands/all.js';
import { suite } from '../support/suite.js';

const test = suite('cli: documentation');

const text = readFileSync(new URL('../../../docs/commands.md', import.meta.url), 'utf8');
/** What stands below each `## `name``. */
const sections = new Map(
  [...text.matchAll(/^## `([^`]+)`\n(.*?)(?=^## |$(?![\s\S]))/gms)].map(m => [m[1], m[2] ?? '']),
);

test('docs/commands.md has every command, in the order of --help, and no other', () => {
  assert.equal(
    [...sections.keys()],
    commands.map(({ name }) => name),
  );
});

test('it names every option of each, and shows an example', () => {
  // Those of all commands stand at the top.
  const common = ['server', 'config', 'json'];
  for (const option of common) assert.match(text, `\`--${option}`);
  for (const { name, options } of commands) {
    const section = sections.get(name) ?? '';
    assert.match(section, `$ entrepot ${name}`);
    for (const option of Object.keys(options)) {
      if (!common.includes(option)) assert.match(section, `--${option}`, `${name}: --${option}`);
    }
  }
});

test('its exit statuses are those of the commands', () => {
  const rows = [...text.matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$/gm)];
  assert.equal(
    rows.map(([, name]) => name),
    commands.map(({ name }) => name),
  );
  for (const [, name, done, failed] of rows) {
    const command = commands.find(each => each.name === name);
    assert.match(command ? commandHelp(command) : '', `Exit status: 0 ${done}, 1 ${failed},`);
  }
});

test.run();
