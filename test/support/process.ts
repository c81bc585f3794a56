/** Starts one of our compiled processes for a test, as a real process, and sees to its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';

/** The folder of the compiled code (`dist/`). */
export const distFolder = resolve(import.meta.dirname, '..', '..');

export interface ProcessOptions {
  /** For messages. Default: the script's folder. */
  readonly name?: string;
  /** The compiled file below `dist/`, for example `gateway/main.js`. */
  readonly script: string;
  readonly args?: readonly string[];
  /** The content of config.yaml, or the path of one. */
  readonly config?: Readonly<Record<string, unknown>> | string;
  /** Added to this process's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** The command that runs it, if it is to run in a network of its own (test/wan). It must become the process. */
  readonly through?: readonly string[];
  /** Asked again and again until it answers true; may throw while it cannot know yet. Absent: ready at once. */
  readonly ready?: (process: StartedProcess) => Promise<boolean>;
  /** Default 45 s. */
  readonly readyTimeoutMs?: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface StartedProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Everything it has written so far, both streams. */
  log(): string;
  /** Its end, whenever that is. */
  readonly exited: Promise<Exit>;
  /** True until it has ended. */
  isRunning(): boolean;
  /** Sends a signal; does not wait. */
  kill(signal?: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL if it has not ended after `graceMs` (10 s). Safe to call again. */
  stop(graceMs?: number): Promise<Exit>;
}

/** Starts a process and waits until it is ready; if it ends before, or never is, the error holds its log. */
export async function startProcess(options: ProcessOptions): Promise<StartedProcess> {
  const name = options.name ?? options.script.split('/')[0] ?? options.script;
  const command = [process.execPath, '--enable-source-maps', join(distFolder, options.script)];
  const [program = '', ...parameters] = [...(options.through ?? []), ...command, ...(options.args ?? [])];
  const child = spawn(program, parameters, {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: {
      ...process.env,
      ENTREPOT_STOP_WITH_STDIN: '1',
      ...withoutFarewell(options.config),
      ...(await configEnv(options.config)),
      ...options.env,
    },
  });
  const started = wrap(name, child);
  atEnd(() => started.stop());
  if (options.ready !== undefined) await waitUntilReady(started, options.ready, options.readyTimeoutMs ?? 45_000);
  return started;
}

/** Nobody has to hear of a process's end, but where a test is about just that, and says so in its config. */
function withoutFarewell(config: ProcessOptions['config']): Record<string, string> {
  const key = 'ENTREPOT_SHUTDOWN_DELAY_SECONDS';
  return typeof config === 'object' && key in config ? {} : { [key]: '0' };
}

async function configEnv(config: ProcessOptions['config']): Promise<Record<string, string>> {
  if (config === undefined) return {};
  if (typeof config === 'string') return { ENTREPOT_CONFIG: config };
  const path = join(await temporaryFolder('config'), 'config.yaml');
  await writeFile(path, stringify(config));
  return { ENTREPOT_CONFIG: path };
}

function wrap(name: string, child: ChildProcess): StartedProcess {
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  // Writing to a process that is gone is no event for a test; its exit is.
  child.stdin?.on('error', () => {});
  let end: Exit | undefined;
  const exited = new Promise<Exit>(resolve => {
    const settle = (exit: Exit) => {
      end = exit;
      resolve(exit);
    };
    child.once('exit', (code, signal) => settle({ code, signal }));
    child.once('error', error => {
      log += `\n${error.message}`;
      settle({ code: null, signal: null });
    });
  });
  const started: StartedProcess = {
    name,
    pid: child.pid ?? 0,
    log: () => log,
    exited,
    isRunning: () => end === undefined,
    kill: (signal = 'SIGTERM') => {
      if (end === undefined) child.kill(signal);
    },
    stop: async (graceMs = 10_000) => {
      started.kill('SIGTERM');
      // A process that a test has stopped with SIGSTOP would not hear the other signal.
      started.kill('SIGCONT');
      const timer = setTimeout(() => started.kill('SIGKILL'), graceMs);
      const exit = await exited;
      clearTimeout(timer);
      return exit;
    },
    [Symbol.asyncDispose]: async () => void (await started.stop()),
  };
  return started;
}

async function waitUntilReady(
  started: StartedProcess,
  ready: (process: StartedProcess) => Promise<boolean>,
  timeoutMs: number,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < deadline) {
    if (!started.isRunning()) {
      const { code, signal } = await started.exited;
      throw new Error(
        `${started.name} ended (${signal ?? `exit code ${code}`}) before it was ready:\n${started.log()}`,
      );
    }
    try {
      if (await ready(started)) return;
    } catch (error) {
      last = error;
    }
    await sleep(50);
  }
  await started.stop(2_000);
  throw new Error(`${started.name} was not ready after ${timeoutMs} ms:\n${started.log()}`, { cause: last });
}
