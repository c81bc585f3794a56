/**
 * What the process of one test file says about itself. It is written to the file that `ENTREPOT_TEST_REPORT` names,
 * again after each step, so that a process that is killed, hangs or ends early has still said how far it came.
 * The runner believes this account, not the exit code alone: a test that was declared and has no result is a failure.
 */
import { readFileSync } from 'node:fs';

export type TestState = 'declared' | 'running' | 'passed' | 'failed' | 'skipped';

export interface TestReport {
  readonly name: string;
  state: TestState;
  /** Why it was skipped. */
  reason?: string;
}

export interface SuiteReport {
  readonly name: string;
  /** Whether `.run()` was called. */
  runCalled: boolean;
  /** Whether `test.only` was used, so that the others rightly did not run. */
  only?: boolean;
  readonly tests: TestReport[];
}

export interface FileReport {
  /** How long the whole file may take, where a suite asked for more than the default. */
  fileTimeoutMs?: number;
  readonly suites: SuiteReport[];
  /** What is worth knowing also when all went well, such as a seed. */
  readonly notes: string[];
  /** Failures that belong to no single test: a hook, a handle that was left open, a forgotten `only`. */
  readonly problems: string[];
}

/** The result of one file, in numbers and in sentences. */
export interface Verdict {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** One line for each failure. */
  readonly failures: readonly string[];
  /** One line for each skipped test. */
  readonly skips: readonly string[];
  readonly notes: readonly string[];
}

/** Reads a report; undefined if there is none, or only half of one. */
export function readReport(path: string): FileReport | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as FileReport;
  } catch {
    return undefined;
  }
}

/** Judges a file by its own report and by what the runner saw (`seen`: how the process ended badly, what it left behind). */
export function judge(report: FileReport | undefined, seen: readonly string[]): Verdict {
  const failures: string[] = [...seen];
  const skips: string[] = [];
  let passed = 0;
  const tests = report?.suites.flatMap(suite => suite.tests) ?? [];
  if (report === undefined) failures.push('left no report: it is not a test file, or it died while loading');
  else if (tests.length === 0) failures.push('declares no test');
  for (const suite of report?.suites ?? []) {
    if (!suite.runCalled) failures.push(`suite "${suite.name}" was never run: .run() is missing`);
    for (const test of suite.tests) {
      const title = `${suite.name} › ${test.name}`;
      if (test.state === 'passed') passed++;
      else if (test.state === 'skipped') skips.push(`${title}${test.reason ? ` (${test.reason})` : ''}`);
      else if (test.state === 'failed') failures.push(`${title}: failed`);
      else if (test.state === 'running') failures.push(`${title}: was still running when the process ended`);
      else if (suite.only) skips.push(`${title} (another test has .only)`);
      else if (suite.runCalled) failures.push(`${title}: did not run`);
    }
  }
  failures.push(...(report?.problems ?? []));
  return { passed, failed: failures.length, skipped: skips.length, failures, skips, notes: report?.notes ?? [] };
}
