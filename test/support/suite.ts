/**
 * Suites for the tests: uvu's, with what uvu lacks.
 *
 * In plain uvu a throwing `before` ends with exit code 0, so does a forgotten `.run()`, and nothing limits a test that
 * hangs. Here every test and hook has a timeout, hooks run under our own eyes (uvu sees only tests that cannot break
 * it), every declared test is accounted for in a report (report.ts), and a file that does not end by itself after its
 * last test fails and names what it left open.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { suite as uvuSuite } from 'uvu';
import { missingNeeds } from './needs.js';
import { type FileReport, judge, type SuiteReport, type TestReport } from './report.js';

/** What a test is given: `signal` is aborted when its time is over. */
export interface TestContext {
  readonly signal: AbortSignal;
}
export type TestFunction = (context: TestContext) => unknown;
export type HookFunction = () => unknown;

export interface TestOptions {
  /** Default: the suite's, or else 30 s; of a hook 90 s. */
  readonly timeoutMs?: number;
  /** Outside programs (needs.ts) without which the test is skipped. */
  readonly needs?: readonly string[];
}
export interface SuiteOptions extends TestOptions {
  /** How long the file's process may take as a whole; default 240 s. */
  readonly fileTimeoutMs?: number;
}

interface Hook {
  (hook: HookFunction): void;
  /** Runs around every test. A failure fails that test. */
  each(hook: HookFunction): void;
}
export interface Suite {
  (name: string, fn: TestFunction, options?: TestOptions): void;
  /** Runs only such tests; a failure when `CI=true`. */
  only(name: string, fn: TestFunction, options?: TestOptions): void;
  skip(name: string, fn?: TestFunction): void;
  before: Hook;
  after: Hook;
  /** Must be called once, at the end of the suite. */
  run(): void;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** Of a hook, which may start a whole stack. */
const DEFAULT_HOOK_TIMEOUT_MS = 90_000;
/** How long a process may live on after its last test before that counts as something left open. */
const AFTERLIFE_MS = 5_000;

const report: FileReport = { suites: [], notes: [], problems: [] };
let unfinishedSuites = 0;
let ends: HookFunction[] = [];
let runningSuite: HookFunction[] | undefined;

/**
 * Registers a clean-up for the end of the suite that is running now, or (also outside of any suite) of the file.
 * Clean-ups run in reverse order, after the `after` hooks; a failing one is a failure of the file.
 */
export function atEnd(cleanUp: HookFunction, of: 'suite' | 'file' = 'suite'): void {
  (of === 'suite' && runningSuite !== undefined ? runningSuite : ends).push(cleanUp);
}

/** Has a line shown with the file's result, also when all goes well. */
export function note(line: string): void {
  report.notes.push(line);
  save();
}

/** A suite of tests with a name. Declare tests, then call `run()`. */
export function suite(name: string, options: SuiteOptions = {}): Suite {
  const record: SuiteReport = { name, runCalled: false, tests: [] };
  report.suites.push(record);
  if (options.fileTimeoutMs !== undefined) {
    report.fileTimeoutMs = Math.max(report.fileTimeoutMs ?? 0, options.fileTimeoutMs);
  }
  const inner = uvuSuite(name);
  const hooks: Hooks = { before: [], after: [], beforeEach: [], afterEach: [] };
  const hookTimeout = options.timeoutMs ?? DEFAULT_HOOK_TIMEOUT_MS;
  let beforeFailure: unknown;
  let active = 0;
  save();

  function declare(testName: string, fn: TestFunction, own: TestOptions, only: boolean): void {
    const entry: TestReport = { name: testName, state: 'declared' };
    record.tests.push(entry);
    const missing = missingNeeds([...(options.needs ?? []), ...(own.needs ?? [])]);
    if (missing.length > 0) {
      entry.state = 'skipped';
      entry.reason = `needs ${missing.join(', ')}`;
      inner.skip(testName);
      return;
    }
    active++;
    const timeout = own.timeoutMs ?? options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    (only ? inner.only : inner)(testName, async () => {
      entry.state = 'running';
      save();
      try {
        if (beforeFailure !== undefined) throw beforeFailure;
        await aroundEach(hooks, hookTimeout, () => limited(`test "${testName}"`, timeout, fn));
        entry.state = 'passed';
      } catch (error) {
        entry.state = 'failed';
        throw presentable(error);
      } finally {
        save();
      }
    });
  }

  inner.before(async () => {
    runningSuite = [];
    if (active === 0) return;
    try {
      for (const hook of hooks.before) await limited(`before of "${name}"`, hookTimeout, hook);
    } catch (error) {
      beforeFailure = error;
      problem(`${name} › before: ${messageOf(error)}`, error);
    }
  });
  inner.after(async () => {
    const cleanUps = runningSuite ?? [];
    if (active > 0) await runAll(`${name} › after`, hooks.after, hookTimeout);
    await runAll(`${name} › clean-up`, cleanUps.reverse(), hookTimeout);
    runningSuite = undefined;
    if (--unfinishedSuites === 0) await fileEnds();
  });

  const test = ((n, fn, own = {}) => declare(n, fn, own, false)) as Suite;
  test.only = (n, fn, own = {}) => {
    if (process.env.CI === 'true') problem(`${name} › ${n}: test.only must not be left in`);
    record.only = true;
    declare(n, fn, own, true);
  };
  test.skip = testName => {
    record.tests.push({ name: testName, state: 'skipped', reason: 'test.skip' });
    inner.skip(testName);
  };
  test.before = Object.assign((hook: HookFunction) => void hooks.before.push(hook), {
    each: (hook: HookFunction) => void hooks.beforeEach.push(hook),
  });
  test.after = Object.assign((hook: HookFunction) => void hooks.after.push(hook), {
    each: (hook: HookFunction) => void hooks.afterEach.push(hook),
  });
  test.run = () => {
    record.runCalled = true;
    unfinishedSuites++;
    save();
    inner.run();
  };
  return test;
}

interface Hooks {
  before: HookFunction[];
  after: HookFunction[];
  beforeEach: HookFunction[];
  afterEach: HookFunction[];
}

/** One test between its hooks: those after it run whatever happened, and their failure counts too. */
async function aroundEach(hooks: Hooks, timeoutMs: number, test: () => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  const attempt = (step: () => Promise<void>) => step().catch(error => void failures.push(error));
  for (const hook of hooks.beforeEach) {
    if (failures.length === 0) await attempt(() => limited('before.each', timeoutMs, hook));
  }
  if (failures.length === 0) await attempt(test);
  for (const hook of hooks.afterEach) await attempt(() => limited('after.each', timeoutMs, hook));
  if (failures.length > 1) throw new AggregateError(failures, failures.map(messageOf).join('; '));
  if (failures.length === 1) throw failures[0];
}

/** Runs `fn`, but not longer than `timeoutMs`; what it waits for by then is abandoned. */
async function limited(what: string, timeoutMs: number, fn: TestFunction): Promise<void> {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`${what} took longer than ${timeoutMs} ms`);
      reject(error);
      abort.abort(error);
    }, timeoutMs);
  });
  try {
    await Promise.race([(async () => fn({ signal: abort.signal }))(), expired]);
  } finally {
    clearTimeout(timer);
  }
}

async function runAll(what: string, hooks: readonly HookFunction[], timeoutMs: number): Promise<void> {
  for (const hook of hooks) {
    await limited(what, timeoutMs, hook).catch(error => problem(`${what}: ${messageOf(error)}`, error));
  }
}

/** After the last suite: the file's own clean-ups, then a short while in which the process must come to its end. */
async function fileEnds(): Promise<void> {
  const cleanUps = ends.reverse();
  ends = [];
  await runAll('clean-up', cleanUps, DEFAULT_TIMEOUT_MS);
  setTimeout(() => {
    if (unfinishedSuites > 0) return;
    const open = process.getActiveResourcesInfo().filter(kind => kind !== 'TTYWrap');
    problem(`the process did not end after its last test; still open: ${open.join(', ')}`);
    process.exit(1);
  }, AFTERLIFE_MS).unref();
}

function problem(text: string, error?: unknown): void {
  report.problems.push(text);
  process.stderr.write(`\n  PROBLEM  ${text}\n${error === undefined ? '' : `${inspect(error)}\n`}`);
  save();
}

function save(): void {
  const path = process.env.ENTREPOT_TEST_REPORT;
  if (path === undefined) return;
  // In one step: the runner reads it at any time, and may kill us at any time.
  writeFileSync(`${path}.new`, JSON.stringify(report));
  renameSync(`${path}.new`, path);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : inspect(error);
}

/** uvu can show its own assertions; anything else that is thrown could trip its printing, so it gets a plain Error. */
function presentable(error: unknown): unknown {
  if (error instanceof Error && error.name === 'Assertion') return error;
  const plain = new Error(messageOf(error));
  plain.stack = inspect(error);
  return plain;
}

process.once('exit', code => {
  // The runner imports this file too, by way of the helpers, without being a test.
  if (report.suites.length === 0) return;
  const verdict = judge(report, []);
  save();
  if (code === 0 && verdict.failed > 0) {
    process.exitCode = 1;
    process.stderr.write(`\nFailed:\n${verdict.failures.map(line => `  ${line}\n`).join('')}`);
  }
});
