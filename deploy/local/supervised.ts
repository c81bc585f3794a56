/**
 * One of our processes, watched: started, waited for, started again when it dies, and stopped.
 *
 * It leads a session of its own, so that the terminal's Ctrl-C reaches only the launcher, and it has the launcher's pipe
 * as standard input (ENTREPOT_STOP_WITH_STDIN), so that it ends when the launcher is gone, however that came.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { rotateLog } from './data-folder.js';
import { LocalError } from './errors.js';
import { type LogLines, logLines } from './log-lines.js';
import { complain, say } from './screen.js';
import type { Part } from './topology.js';

export interface SupervisorOptions {
  /** The folder of the compiled code. */
  readonly dist: string;
  readonly configPath: string;
  readonly logPath: (name: string) => string;
  readonly restart: boolean;
  /** Called when a process has been started or has ended. */
  readonly onChange: () => void;
}

export interface Supervised {
  readonly name: string;
  readonly address: string;
  /** Of the process that runs now, if one does. */
  readonly pid: number | undefined;
  /** Waits until it is healthy. Rejects if it dies first, takes too long, or `signal` is aborted. */
  ready(signal: AbortSignal): Promise<void>;
  /** Asks it to end and waits for that; after `graceMs` it is killed. */
  stop(graceMs: number): Promise<void>;
  /** Kills it at once; for good. */
  kill(): void;
}

const READY_WITHIN_MS = 60_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** One that has lived this long starts again without a longer pause. */
const STABLE_AFTER_MS = 30_000;

/** Starts the process; from now on it is kept running until `stop` or `kill`. */
export function supervise(part: Part, options: SupervisorOptions): Supervised {
  const logPath = options.logPath(part.name);
  rotateLog(logPath);
  const logFile = createWriteStream(logPath, { flags: 'a', mode: 0o600 });
  logFile.on('error', error => say(`  ${logPath} cannot be written: ${error.message}`));
  const lines = logLines(text => complain(part.name, text));

  let child: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();
  let stopping = false;
  let hasBeenReady = false;
  let failure: string | undefined;
  let pause = FIRST_PAUSE_MS;
  let pauseTimer: NodeJS.Timeout | undefined;

  function start(): void {
    const startedAt = Date.now();
    const started = spawnPart(part, options);
    child = started;
    for (const stream of [started.stdout, started.stderr]) if (stream) collect(stream, logFile, lines);
    ended = new Promise(resolve => {
      const settle = (how: string) => {
        if (child !== started) return;
        child = undefined;
        resolve();
        options.onChange();
        if (!stopping) died(how, Date.now() - startedAt);
      };
      started.once('error', error => settle(error.message));
      // `close`: its output has been read to the end, too.
      started.once('close', (code, signal) => settle(signal ?? `exit code ${code}`));
    });
    options.onChange();
  }

  function died(how: string, livedMs: number): void {
    failure = `${part.name} ended unexpectedly (${how}). Its last words (${logPath}):\n${lines
      .tail()
      .map(line => `    ${line}`)
      .join('\n')}`;
    if (!hasBeenReady) return;
    pause = livedMs > STABLE_AFTER_MS ? FIRST_PAUSE_MS : Math.min(pause * 2, LONGEST_PAUSE_MS);
    say(`  ${failure}\n  ${options.restart ? `It is started again in ${pause / 1000} s.` : 'It stays down.'}`);
    if (options.restart) pauseTimer = setTimeout(start, pause);
  }

  async function ready(signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + READY_WITHIN_MS;
    while (!(await part.isHealthy())) {
      signal.throwIfAborted();
      if (failure !== undefined) throw new LocalError(failure);
      if (Date.now() > deadline) {
        const tail = lines.tail().map(line => `    ${line}`);
        throw new LocalError(
          `${part.name} was not ready after ${READY_WITHIN_MS / 1000} s. Its last words (${logPath}):\n${tail.join('\n')}`,
        );
      }
      await sleep(100, undefined, { signal });
    }
    if (failure !== undefined) throw new LocalError(failure);
    hasBeenReady = true;
  }

  async function stop(graceMs: number): Promise<void> {
    stopping = true;
    clearTimeout(pauseTimer);
    const running = child;
    if (running !== undefined) {
      running.kill('SIGTERM');
      // One that somebody has stopped (SIGSTOP) would not hear the other signal.
      running.kill('SIGCONT');
      const timer = setTimeout(() => killGroup(running), graceMs);
      await ended;
      clearTimeout(timer);
    }
    logFile.end();
  }

  start();
  return {
    name: part.name,
    address: part.address,
    get pid() {
      return child?.pid;
    },
    ready,
    stop,
    kill: () => {
      stopping = true;
      clearTimeout(pauseTimer);
      if (child !== undefined) killGroup(child);
    },
  };
}

function spawnPart(part: Part, options: SupervisorOptions): ChildProcess {
  const child = spawn(process.execPath, ['--enable-source-maps', join(options.dist, part.script)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: {
      // No balancer has to hear of its end.
      ENTREPOT_SHUTDOWN_DELAY_SECONDS: '0',
      ...process.env,
      ...part.env,
      ENTREPOT_CONFIG: options.configPath,
      ENTREPOT_STOP_WITH_STDIN: '1',
    },
  });
  // Nothing is ever written to it; that it breaks is told by the process's end.
  child.stdin?.on('error', () => {});
  return child;
}

/**
 * Writes a stream to the log file, no faster than the file takes it. A file that has failed (a full disk) takes nothing
 * more and never asks for more: then the output is only read, or its process would wait for us in the middle of a line.
 */
function collect(stream: Readable, file: WriteStream, lines: LogLines): void {
  stream.setEncoding('utf8').on('data', (text: string) => {
    lines.push(text);
    if (file.destroyed || file.write(text) || file.destroyed) return;
    stream.pause();
    const goOn = () => {
      file.off('drain', goOn);
      file.off('close', goOn);
      stream.resume();
    };
    file.on('drain', goOn);
    file.on('close', goOn);
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It has ended in the meantime.
  }
}
