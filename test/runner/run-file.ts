/**
 * Runs one test file in a process of its own, which leads a session of its own, and judges it: by its report, by how
 * it ended, and by what it left running.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { judge, readReport, type SuiteReport, type Verdict } from '../support/report.js';
import { killAll, killGroup, leftovers, MARK } from './processes.js';

const DEFAULT_TIMEOUT_MS = 240_000;
/** How long processes that a file has told to end may take for it once the file itself is over. */
const LEFTOVER_GRACE_MS = 4_000;
const MAX_OUTPUT = 1 << 20;

export interface FileResult extends Verdict {
  readonly file: string;
  readonly output: string;
  readonly suites: readonly SuiteReport[];
  readonly ms: number;
}

export interface RunFileOptions {
  /** The file's path below `folder`, for the report. */
  readonly file: string;
  readonly folder: string;
  /** Where the report file may be written. */
  readonly scratch: string;
  readonly env: Readonly<Record<string, string>>;
  /** Aborted: the file's processes are killed. */
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

/** Runs a test file to its end. Never rejects: whatever goes wrong is a failure of the result. */
export async function runFile(options: RunFileOptions): Promise<FileResult> {
  const started = Date.now();
  const mark = randomUUID();
  const reportPath = join(options.scratch, `${mark}.json`);
  // Temporary files of its own, so that those of a file that is killed go, too.
  const temporary = join(options.scratch, mark.slice(0, 8));
  mkdirSync(temporary);
  const child = spawn(process.execPath, ['--enable-source-maps', join(options.folder, options.file)], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env, TMPDIR: temporary, [MARK]: mark, ENTREPOT_TEST_REPORT: reportPath },
  });
  let output = '';
  const collect = (chunk: string) => {
    if (output.length < MAX_OUTPUT) output += chunk;
  };
  child.stdout.setEncoding('utf8').on('data', collect);
  child.stderr.setEncoding('utf8').on('data', collect);

  const seen: string[] = [];
  const ended = new Promise<{ code: number | null; signal: string | null }>(resolve => {
    child.once('error', error => {
      seen.push(`cannot be started: ${error.message}`);
      resolve({ code: null, signal: null });
    });
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const leader = child.pid;
  const kill = () => {
    if (leader !== undefined) killGroup(leader);
  };
  options.signal.addEventListener('abort', kill, { once: true });
  const limit = startLimit(options.timeoutMs, reportPath, text => {
    seen.push(text);
    kill();
  });

  const end = await ended;
  clearInterval(limit);
  options.signal.removeEventListener('abort', kill);
  if (leader !== undefined) seen.push(...(await endLeftovers(leader, mark)));
  child.stdout.destroy();
  child.stderr.destroy();
  rmSync(temporary, { recursive: true, force: true, maxRetries: 3 });

  let verdict = judge(readReport(reportPath), seen);
  if (end.code !== 0 && verdict.failed === 0) {
    verdict = judge(readReport(reportPath), [`ended with ${end.signal ?? `exit code ${end.code}`}`]);
  }
  const suites = readReport(reportPath)?.suites ?? [];
  return { ...verdict, file: options.file, output, suites, ms: Date.now() - started };
}

/** Watches the time; a file may ask for more than the default in its report. */
function startLimit(ownMs: number | undefined, reportPath: string, expire: (text: string) => void): NodeJS.Timeout {
  const started = Date.now();
  const timer = setInterval(() => {
    const elapsed = Date.now() - started;
    if (elapsed < (ownMs ?? DEFAULT_TIMEOUT_MS)) return;
    const limit = Math.max(ownMs ?? DEFAULT_TIMEOUT_MS, readReport(reportPath)?.fileTimeoutMs ?? 0);
    if (elapsed < limit) return;
    clearInterval(timer);
    expire(`took longer than ${limit / 1000} s and was killed`);
  }, 250);
  return timer;
}

/** Waits a little for the file's processes to go, then kills those that stayed. Returns the complaint, if any. */
async function endLeftovers(leader: number, mark: string): Promise<string[]> {
  const deadline = Date.now() + LEFTOVER_GRACE_MS;
  let left = leftovers(leader, mark);
  while (left.length > 0 && Date.now() < deadline) {
    await sleep(50);
    left = leftovers(leader, mark);
  }
  if (left.length === 0) return [];
  killAll(left);
  return left.map(({ pid, command }) => `left a process running: ${pid} ${command.slice(0, 200)}`);
}
