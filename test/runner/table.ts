/** A table of test × suite, for suites that hold the same tests: the contract over each engine. */
import type { SuiteReport, TestState } from '../support/report.js';

const SIGNS: Readonly<Record<TestState, string>> = {
  passed: 'ok',
  failed: 'FAIL',
  skipped: 'skip',
  declared: 'FAIL',
  running: 'FAIL',
};

/** The table's lines: a row for each test's name, a column for each suite. */
export function tableOf(suites: readonly SuiteReport[]): string[] {
  const names = [...new Set(suites.flatMap(suite => suite.tests.map(test => test.name)))];
  if (names.length === 0) return [];
  const widest = Math.max(...names.map(name => name.length));
  const heads = suites.map((suite, i) => `${String.fromCharCode(65 + i)}  ${suite.name}`);
  const row = (name: string, cells: readonly string[]) =>
    `${name.padEnd(widest)}  ${cells.map(cell => cell.padEnd(4)).join('  ')}`.trimEnd();
  const letters = suites.map((_, i) => String.fromCharCode(65 + i));
  const rows = names.map(name =>
    row(
      name,
      suites.map(suite => SIGNS[suite.tests.find(test => test.name === name)?.state ?? 'skipped'].replace('skip', '–')),
    ),
  );
  return [...heads, '', row('', letters), ...rows];
}
