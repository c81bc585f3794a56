/** The units, as systemd itself reads them: no mistake in them, and how much they leave open. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { attempt } from '../support/command.js';
import { distFolder } from '../support/process.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('units of systemd', { needs: ['systemd'] });
const folder = resolve(distFolder, '..', 'deploy', 'systemd');

/** Of 100: what "OK" is to systemd goes up to 49, and a service that is left alone has 96. */
const MOST_EXPOSED = 20;

test('systemd finds no mistake', async () => {
  const copies = await temporaryFolder('units');
  const units: string[] = [];
  for (const name of await readdir(folder)) {
    const text = await readFile(join(folder, name), 'utf8');
    // Node.js need not be there on this machine.
    await writeFile(join(copies, name), text.replaceAll('/usr/bin/node', process.execPath));
    units.push(join(copies, name));
  }
  assert.is(units.length, 3);
  const { code, stdout, stderr } = await attempt('systemd-analyze', ['verify', '--man=no', ...units]);
  // Of an unknown key it only tells.
  assert.equal([code, stdout, stderr], [0, '', '']);
});

test('systemd calls little of them exposed', async () => {
  for (const unit of await readdir(folder)) {
    const words = ['security', '--offline=true', '--no-pager', `--threshold=${MOST_EXPOSED}`, join(folder, unit)];
    const { code, stdout } = await attempt('systemd-analyze', words);
    assert.is(code, 0, stdout);
    assert.match(stdout, /Overall exposure level/);
  }
});

test.run();
