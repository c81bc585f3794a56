/** Servers of other projects, started for a test: in the foreground, as our children, ended with the suite. */
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { findCommand } from './needs.js';
import { atEnd } from './suite.js';
import { until } from './wait.js';

export interface Daemon {
  readonly name: string;
  readonly pid: number;
  isRunning(): boolean;
  kill(signal: NodeJS.Signals): void;
  /** Ends it the hard way: what it kept is of no use to anyone. */
  stop(): Promise<void>;
  log(): string;
}

/** Starts a server; `ready` is asked until it answers true. */
export async function startDaemon(
  command: string,
  parameters: readonly string[],
  ready: () => Promise<boolean>,
  env: Readonly<Record<string, string>> = {},
): Promise<Daemon> {
  const child = spawn(findCommand(command) ?? command, parameters, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let log = '';
  const collect = (text: string) => {
    log = (log + text).slice(-20_000);
  };
  child.stdout.setEncoding('utf8').on('data', collect);
  child.stderr.setEncoding('utf8').on('data', collect);
  const exited = new Promise<void>(resolve => {
    child.once('exit', () => resolve());
    child.once('error', error => {
      collect(error.message);
      resolve();
    });
  });
  const isRunning = () => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  const daemon: Daemon = {
    name: command,
    pid: child.pid ?? 0,
    isRunning,
    kill: signal => void child.kill(signal),
    stop: async () => {
      if (isRunning()) child.kill('SIGKILL');
      await exited;
    },
    log: () => log,
  };
  atEnd(() => daemon.stop());
  const isReady = () => !isRunning() || ready().catch(() => false);
  if (!(await until(isReady, 60_000)) || !isRunning()) {
    await daemon.stop();
    throw new Error(`${command} did not start:\n${log}`);
  }
  return daemon;
}

const run = promisify(execFile);

/** Runs a tool to its end; resolves to what it printed. */
export async function runTool(
  command: string,
  parameters: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { stdout } = await run(findCommand(command) ?? command, parameters, {
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  return stdout;
}

/** Whether anything answers HTTP at an address. */
export async function answers(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return true;
}
