/** Runs outside programs to their end, for tests. */
import { spawn } from 'node:child_process';
import { findCommand } from './needs.js';

export interface CommandOptions {
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** It is killed then. Default 60 s. */
  readonly timeoutMs?: number;
}

export interface CommandEnd {
  /** 0 if it went well; null if it was killed. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program and returns what it wrote to standard output. Throws, with all of its words, if it fails. */
export async function run(
  command: string,
  parameters: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const end = await attempt(command, parameters, options);
  if (end.code === 0) return end.stdout;
  throw new Error(`${command} ${parameters.join(' ')} ended with ${end.code}:\n${end.stdout}${end.stderr}`);
}

/** Runs a program that may fail. Throws only if it cannot be started. */
export function attempt(
  command: string,
  parameters: readonly string[],
  { env = {}, cwd, timeoutMs = 60_000 }: CommandOptions = {},
): Promise<CommandEnd> {
  const path = findCommand(command);
  if (path === undefined) throw new Error(`${command} is not installed`);
  const child = spawn(path, parameters, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', code => resolve({ code, stdout, stderr }));
  });
}
