/**
 * Keeps one program (PostgreSQL, initdb) for as long as somebody holds this process's standard input open.
 *
 * PostgreSQL knows nothing of the process that started it and would live on when that one is killed. So this small
 * process stands between: the kernel closes the pipe whatever the owner died of, and then the program is ended: fast
 * (SIGINT), at once (SIGQUIT), by force (SIGKILL), all within 4 s. It ends when the program has, with its exit code.
 *
 * The first line of standard input is the program, as JSON: {@link Kept}. (Not an argument: everybody may read those, and
 * an environment can hold secrets.) Each further line asks for one manner of ending: `fast`, `immediate` or `kill`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';

export interface Kept {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  /** Both output streams are appended to this file. */
  readonly log: string;
}

const signals = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const;
type Manner = keyof typeof signals;
const IMMEDIATE_AFTER_MS = 2_000;
const KILL_AFTER_MS = 3_200;

let child: ChildProcess | undefined;

function start(program: Kept): ChildProcess {
  const log = openSync(program.log, 'a', 0o600);
  const { file, args, log: _, ...rest } = program;
  // In a session of its own: a Ctrl-C at the terminal is the owner's to hear, not PostgreSQL's.
  const started = spawn(file, args, { ...rest, stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  started.once('error', error => {
    process.stderr.write(`${error.message}\n`);
    process.exit(127);
  });
  started.once('exit', (code, signal) => process.exit(code ?? (signal === 'SIGKILL' ? 137 : 1)));
  return started;
}

function end(manner: Manner): void {
  child?.kill(signals[manner]);
}

let ending = false;
function ownerIsGone(): void {
  if (child === undefined) process.exit(1);
  if (ending) return;
  ending = true;
  end('fast');
  setTimeout(end, IMMEDIATE_AFTER_MS, 'immediate');
  setTimeout(end, KILL_AFTER_MS, 'kill');
}

const lines = createInterface({ input: process.stdin });
lines.on('line', line => {
  if (child === undefined) child = start(JSON.parse(line) as Kept);
  else if (line === 'fast' || line === 'immediate' || line === 'kill') end(line);
});
lines.on('close', ownerIsGone);
process.stdin.on('error', ownerIsGone);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, ownerIsGone);
