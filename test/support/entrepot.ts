/** The compiled `entrepot` command as a process: run to its end, or beside what else the test does, in a pipe or in a terminal. */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { distFolder } from './process.js';
import { atEnd } from './suite.js';

const main = join(distFolder, 'cli', 'main.js');

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `entrepot ARGS` with nothing in its environment but `env`, and waits until it ends (10 s at most). */
export function entrepot(args: readonly string[], env: Readonly<Record<string, string>> = {}): Outcome {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [main, ...args], {
    env: { ...env },
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

export interface EntrepotOptions {
  /** Added to this process's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** What is typed; absent: nothing, and the end of the input. */
  readonly input?: string;
  /** In a terminal of its own (both streams are `stdout` then). */
  readonly terminal?: boolean;
}

export interface EntrepotEnd {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The lines of `stdout`. */
  readonly lines: readonly string[];
}

export interface RunningEntrepot {
  readonly ended: Promise<EntrepotEnd>;
  /** What it has written to standard output so far. */
  output(): string;
  kill(signal: NodeJS.Signals): void;
}

/** Starts a command; what still runs is killed at the end of the suite. */
export function startEntrepot(args: readonly string[], options: EntrepotOptions): RunningEntrepot {
  const command = [process.execPath, main, ...args];
  // Its first argument is a line for a shell; -e hands on the exit status.
  const inTerminal = ['script', '-qec', command.map(word => `'${word}'`).join(' '), '/dev/null'];
  const [program = '', ...parameters] = options.terminal ? inTerminal : command;
  const child = spawn(program, parameters, {
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  const ended = new Promise<EntrepotEnd>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', status => resolve({ status, stdout, stderr, lines: stdout.trimEnd().split(/\r?\n/) }));
  });
  atEnd(async () => {
    child.kill('SIGKILL');
    await ended.catch(() => {});
  });
  return { ended, output: () => stdout, kill: signal => void child.kill(signal) };
}
