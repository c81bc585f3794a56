/**
 * The test runner: `node dist/test/run.js [filter…]`.
 *
 * Runs each test file in a process of its own, three at a time, beside one real PostgreSQL. It passes only if every test
 * that a file declares has run and passed, and if no file leaves anything behind. The last line is always
 * `N passed, N failed` (and, when so, `, N skipped`).
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { findTestFiles, otherTiers } from './runner/files.js';
import { longestFirst } from './runner/order.js';
import { type FileResult, runFile } from './runner/run-file.js';
import { tableOf } from './runner/table.js';
import { absent, installMissing, type Tier } from './support/needs.js';
import { freePort } from './support/ports.js';
import { POSTGRES_URL, startTestPostgres, type TestPostgres } from './support/postgres.js';

const help = `Usage: node dist/test/run.js [options] [filter…]

Runs the test files whose path contains one of the filters; without a filter, all of the tier.

  --tier NAME         another tier than the plain one: ${otherTiers.join(', ')}
  --concurrency N     how many files run at the same time (default 3: most of them wait for something most of the time)
  --file-timeout N    seconds that a file may take (default 240; a suite may ask for more)
  --folder PATH       where the compiled tests are (default dist/test)
  --no-postgres       start no PostgreSQL beforehand; a file that needs one starts its own
  --no-install        never install a missing Debian package
  --help`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      tier: { type: 'string' },
      concurrency: { type: 'string', default: '3' },
      'file-timeout': { type: 'string' },
      folder: { type: 'string', default: import.meta.dirname },
      'no-postgres': { type: 'boolean', default: false },
      'no-install': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const tier = values.tier;
  if (tier !== undefined && !otherTiers.some(name => name === tier)) {
    console.error(`--tier ${tier} is not known: ${otherTiers.join(', ')}`);
    return 2;
  }
  const compiled = resolve(values.folder);
  const sources = compiled.replace(/([\\/])dist([\\/])(?!.*[\\/]dist[\\/])/, '$1');
  const files = longestFirst(findTestFiles({ compiled, sources, tier, filters: positionals }));
  const failures = prepareNeeds(tiersOfNeeds(tier), !values['no-install']);
  if (files.length === 0) failures.push(`no test file matches${positionals.map(part => ` "${part}"`).join('')}`);

  const scratch = mkdtempSync(join(tmpdir(), 'entrepot-test-'));
  chmodSync(scratch, 0o755);
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => abort.abort(signal));
  const results: FileResult[] = [];
  const timeoutMs = values['file-timeout'] === undefined ? undefined : Number(values['file-timeout']) * 1000;
  let postgres: TestPostgres | undefined;
  try {
    if (files.length > 0 && !values['no-postgres']) postgres = await startTestPostgres(await freePort());
    await eachWithSlots(files, Number(values.concurrency), async (file, slot) => {
      if (abort.signal.aborted) return;
      const result = await runFile({
        file,
        folder: compiled,
        scratch,
        env: { ENTREPOT_TEST_SLOT: String(slot), ...(postgres === undefined ? {} : { [POSTGRES_URL]: postgres.url }) },
        signal: abort.signal,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      });
      results.push(result);
      print(result);
    });
  } finally {
    await postgres?.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
  if (tier === 'engines')
    for (const line of ['', ...tableOf(results.flatMap(({ suites }) => suites))]) console.log(line);
  if (abort.signal.aborted) failures.push(`interrupted by ${abort.signal.reason}`);
  return summarize(results, failures);
}

function tiersOfNeeds(tier: string | undefined): readonly Tier[] {
  // Beyond the plain tier, any file may start a store.
  return tier === undefined ? ['test'] : ['test', 'ci', 'engines'];
}

/** Gets what the tests need from outside, and says what stays missing. Returns what counts as a failure. */
function prepareNeeds(tiers: readonly Tier[], install: boolean): string[] {
  const failures: string[] = [];
  for (const tier of tiers) {
    if (install) installMissing(tier);
    for (const item of absent(tier)) {
      const how = item.aptPackage
        ? `apt-get install ${item.aptPackage}, or your system's package of that name`
        : `.ci/go-tools ${item.name}, which needs Go`;
      console.log(`MISSING  ${item.name} (${item.purpose}): its tests are SKIPPED. To get it: ${how}`);
      if (item.required && process.env.CI === 'true') failures.push(`${item.name} is required when CI=true`);
    }
  }
  return failures;
}

/** Calls `work` for each item, on `count` slots at a time. */
async function eachWithSlots<T>(items: readonly T[], count: number, work: (item: T, slot: number) => Promise<void>) {
  const queue = [...items];
  const slots = Array.from({ length: Math.max(1, count) }, async (_, slot) => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item, slot);
  });
  await Promise.all(slots);
}

function print(result: FileResult): void {
  const seconds = `${(result.ms / 1000).toFixed(1)} s`;
  const counts = `${result.passed} passed${result.skipped > 0 ? `, ${result.skipped} skipped` : ''}`;
  if (result.failed === 0) {
    console.log(`ok    ${result.file}  ${counts}  (${seconds})`);
    for (const line of result.notes) console.log(`      ${line}`);
    for (const line of result.skips) console.log(`      skipped: ${line}`);
    return;
  }
  console.log(`\nFAIL  ${result.file}  ${result.failed} failed, ${counts}  (${seconds})`);
  console.log(result.output.replace(/^/gm, '    | '));
  for (const line of result.failures) console.log(`    ✘ ${line}`);
  console.log('');
}

function summarize(results: readonly FileResult[], failures: readonly string[]): number {
  const sum = (count: (result: FileResult) => number) => results.reduce((total, result) => total + count(result), 0);
  const failed = sum(result => result.failed) + failures.length;
  const skipped = sum(result => result.skipped);
  console.log('');
  for (const result of results) for (const line of result.failures) console.log(`✘ ${result.file}: ${line}`);
  for (const line of failures) console.log(`✘ ${line}`);
  console.log(`${sum(result => result.passed)} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main().catch(error => {
  console.error(error);
  console.log('0 passed, 1 failed');
  return 1;
});
