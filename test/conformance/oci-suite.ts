/**
 * Runs the OCI conformance suite (the Go program of the distribution specification, built by `.ci/go-tools`) against a
 * registry, and reads its verdict.
 *
 * Its exit code alone says little: it is 0 too if the suite could not read its configuration or write a report. So the
 * whole of its report is read, and what cannot be read is an error.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { attempt } from '../support/command.js';

const statuses = ['Pass', 'Skip', 'Disabled', 'FAIL', 'Error', 'Unknown'] as const;
export type Status = (typeof statuses)[number];

/** One test of the suite, or a group of them, whose status is the worst in it. */
export interface SuiteTest {
  /** With the groups that it is in, separated by slashes. */
  readonly name: string;
  readonly status: Status;
  /** What was wrong. */
  readonly errors: readonly string[];
}

export interface SuiteResult {
  /** How many tests ended so; the suite counts a test that asks for several things more than once. */
  readonly counts: Readonly<Record<'Pass' | 'Skip' | 'Disabled' | 'FAIL' | 'Error', number>>;
  readonly tests: readonly SuiteTest[];
  /** The status of each part of the API, for example `Blob anonymous mount`. */
  readonly apis: Readonly<Record<string, string>>;
}

export type Version = 'stable' | 'dev';

export interface SuiteOptions {
  /** `host:port` of the registry, which is asked without TLS. */
  readonly registry: string;
  readonly version: Version;
  /** Nothing may have been pushed below this name yet. */
  readonly namespace: string;
  /** A folder for the reports. */
  readonly folder: string;
  /** Whom the suite signs in as; nobody if absent. */
  readonly user?: { readonly name: string; readonly password: string };
}

/** The command, see test/support/needs.ts. */
export const OCI_SUITE = 'oci-conformance';

const RUN_TIMEOUT_MS = 60_000;

/** Runs all of the suite once. Throws if it did not come to an end with a report. */
export async function runSuite(options: SuiteOptions): Promise<SuiteResult> {
  const { registry, version, namespace, folder, user } = options;
  const { code, stdout, stderr } = await attempt(OCI_SUITE, [], {
    // It takes a configuration from the folder that it is started in.
    cwd: folder,
    timeoutMs: RUN_TIMEOUT_MS,
    env: {
      OCI_REGISTRY: registry,
      OCI_TLS: 'disabled',
      OCI_VERSION: version,
      OCI_REPO1: `${namespace}/one`,
      OCI_REPO2: `${namespace}/two`,
      // The one kind of content that is off by default: manifests of what was not pushed.
      OCI_DATA_SPARSE: 'true',
      OCI_LOG: 'error',
      OCI_RESULTS_DIR: folder,
      ...(user ? { OCI_USERNAME: user.name, OCI_PASSWORD: user.password } : {}),
    },
  });
  const failed = code !== 0;
  const output = `${stdout}\n${stderr}`;
  const result = readReport(stdout, await readFile(join(folder, 'results.yaml'), 'utf8').catch(() => ''));
  if (!result) throw new Error(`the conformance suite ended with ${code} and no report that can be read:\n${output}`);
  if (failed !== result.counts.FAIL + result.counts.Error > 0) {
    throw new Error(`the conformance suite ended with ${code}, which is not what its report says:\n${output}`);
  }
  return result;
}

const resultsFile = z.object({ apis: z.record(z.string(), z.string()) });

/** Reads what the suite printed, and its `results.yaml`; undefined if anything is missing. */
export function readReport(printed: string, results: string): SuiteResult | undefined {
  const tests = readTests(printed);
  const counts = {
    Pass: countOf(printed, 'Pass'),
    Skip: countOf(printed, 'Skip'),
    Disabled: countOf(printed, 'Disabled'),
    FAIL: countOf(printed, 'FAIL'),
    Error: countOf(printed, 'Error'),
  };
  const file = resultsFile.safeParse(parse(results));
  if (tests.length === 0 || Object.values(counts).some(Number.isNaN) || !file.success) return undefined;
  return { counts, tests, apis: file.data.apis };
}

function countOf(printed: string, status: Status): number {
  return Number(new RegExp(`^ {2}${status}\\.+: +(\\d+)$`, 'm').exec(printed)?.[1] ?? Number.NaN);
}

/** The tree of tests, which is what comes first: `name: Status`, and below a test that failed, ` - ` and its errors. */
function readTests(printed: string): SuiteTest[] {
  const tests: { name: string; status: Status; errors: string[] }[] = [];
  for (const line of printed.split('\nConfiguration:\n', 1)[0]?.split('\n') ?? []) {
    const [, name, text] = /^ *(OCI Conformance Test.*): (\w+)$/.exec(line) ?? [];
    const status = statuses.find(each => each === text);
    if (name !== undefined && status) tests.push({ name, status, errors: [] });
    else if (line.trim() !== '') tests.at(-1)?.errors.push(line.replace(/^ +- /, '').trim());
  }
  return tests;
}

/** The tests without groups: none of the others is in them. */
export function leaves(tests: readonly SuiteTest[]): SuiteTest[] {
  return tests.filter(({ name }) => !tests.some(other => other.name.startsWith(`${name}/`)));
}
