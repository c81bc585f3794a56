/** The runner and the suites themselves: run over files that misbehave, each of which must be found out. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { distFolder } from '../support/process.js';
import { suite } from '../support/suite.js';

interface Outcome {
  readonly code: number | null;
  readonly output: string;
  readonly lastLine: string;
}

function run(filters: readonly string[], env: Readonly<Record<string, string>> = {}): Outcome {
  const folder = join(distFolder, 'test', 'fixtures', 'runner');
  const parameters = ['--folder', folder, '--no-install', '--no-postgres', '--file-timeout', '8', ...filters];
  const done = spawnSync(process.execPath, [join(distFolder, 'test', 'run.js'), ...parameters], {
    encoding: 'utf8',
    env: { ...process.env, CI: '', ...env },
    timeout: 30_000,
  });
  const output = done.stdout + done.stderr;
  return { code: done.status, output, lastLine: done.stdout.trimEnd().split('\n').at(-1) ?? '' };
}

const test = suite('runner');

test('a good file passes, and is counted', () => {
  const { code, output, lastLine } = run(['good']);
  assert.is(lastLine, '3 passed, 0 failed, 1 skipped', output);
  assert.is(code, 0);
});

const misbehaving: readonly (readonly [string, string, RegExp])[] = [
  ['after-throws', '1 passed, 1 failed', /after: the after hook broke/],
  ['before-throws', '0 passed, 2 failed', /before: the before hook broke/],
  ['busy', '0 passed, 2 failed', /took longer than 8 s and was killed/],
  ['each-throws', '0 passed, 2 failed', /the after\.each hook broke/],
  ['early-exit', '0 passed, 2 failed', /two: did not run/],
  ['forgotten-run', '0 passed, 1 failed', /\.run\(\) is missing/],
  ['leak', '2 passed, 2 failed', /left a process running: \d+ sleep 62/],
  ['no-test', '0 passed, 1 failed', /declares no test/],
  ['odd-throws', '1 passed, 3 failed', /just text/],
  ['open-handle', '1 passed, 1 failed', /still open: .*TCPServerWrap/],
  ['slow-hook', '0 passed, 2 failed', /before of "slow-hook" took longer than 300 ms/],
  ['unfinished', '1 passed, 1 failed', /"never settles" took longer than 300 ms/],
];
for (const [file, lastLine, text] of misbehaving) {
  test(`finds out ${file}`, () => {
    const outcome = run([file]);
    assert.is(outcome.lastLine, lastLine, outcome.output);
    assert.match(outcome.output, text);
    assert.is(outcome.code, 1);
  });
}

test('only is allowed on a desk, not in CI', () => {
  assert.is(run(['only']).lastLine, '1 passed, 0 failed, 1 skipped');
  const inCi = run(['only'], { CI: 'true', PATH: process.env.PATH ?? '' });
  assert.is(inCi.code, 1);
  assert.match(inCi.output, /test\.only must not be left in/);
});

test('a filter that matches nothing is a failure', () => {
  const { code, lastLine } = run(['no-such-file']);
  assert.is(lastLine, '0 passed, 1 failed');
  assert.is(code, 1);
});

test('a missing program skips its tests loudly, and fails in CI when it is required', () => {
  const nowhere = { PATH: '/nowhere', ENTREPOT_TEST_ONLY_PATH: '1' };
  const atDesk = run(['needs'], nowhere);
  assert.is(atDesk.lastLine, '1 passed, 0 failed, 1 skipped', atDesk.output);
  assert.match(atDesk.output, /MISSING {2}skopeo .*apt-get install skopeo/);
  const inCi = run(['needs'], { ...nowhere, CI: 'true' });
  assert.is(inCi.code, 1);
  assert.match(inCi.output, /skopeo is required when CI=true/);
});

test.run();
