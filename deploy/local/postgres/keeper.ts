/**
 * Keeps one program (PostgreSQL, initdb) for as long as somebody holds this process's standard input open.
 *
 * PostgreSQL knows nothing of the process that started it and would live on when that one is killed. So this small
 * process stands between: the kernel closes the pipe whatever the owner died of, and then the program is ended: fast
 * (SIGINT), at once (SIGQUIT), by force (SIGKILL), all within 4 s. A line `fast`, `immediate` or `kill` asks for one.
 * It ends when the program has, with its exit code.
 *
 * The program comes as JSON in the first argument: {@link Kept}.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

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

const kept = JSON.parse(process.argv[2] ?? '') as Kept;
const log = openSync(kept.log, 'a', 0o600);
const { file, args, log: _, ...rest } = kept;
// In a session of its own: a Ctrl-C at the terminal is the owner's to hear, not PostgreSQL's.
const child = spawn(file, args, { ...rest, stdio: ['ignore', log, log], detached: true });
closeSync(log);

child.once('error', error => {
  process.stderr.write(`${error.message}\n`);
  process.exit(127);
});
child.once('exit', (code, signal) => process.exit(code ?? (signal === 'SIGKILL' ? 137 : 1)));

function end(manner: Manner): void {
  child.kill(signals[manner]);
}

let ending = false;
function ownerIsGone(): void {
  if (ending) return;
  ending = true;
  end('fast');
  setTimeout(end, IMMEDIATE_AFTER_MS, 'immediate');
  setTimeout(end, KILL_AFTER_MS, 'kill');
}

process.stdin.setEncoding('utf8');
process.stdin.on('data', (text: string) => {
  for (const word of text.split('\n')) {
    if (word === 'fast' || word === 'immediate' || word === 'kill') end(word);
  }
});
process.stdin.on('end', ownerIsGone);
process.stdin.on('error', ownerIsGone);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, ownerIsGone);
