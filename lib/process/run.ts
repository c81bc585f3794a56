/**
 * The life of a process, the same for all of them: build the parts, say that they are up, and on a signal end them in
 * order. Nothing else in the code base listens to signals or calls process.exit.
 */
import { setFlagsFromString } from 'node:v8';
import type { Config, Role, TracingConfig } from '../config/config.js';
import { ConfigError, loadConfig } from '../config/load.js';
import { createLogger, type Logger } from '../telemetry/log.js';
import type { Tracing } from '../telemetry/tracing.js';
import { version } from './version.js';

/** A process that has started. */
export interface Running {
  /**
   * Ends everything that `start` began; called once. From now on the process says that it wants no work, but takes what
   * comes for another `farewellMs`, until everybody has heard of it. All in all, work in flight may finish while
   * `graceMs` lasts.
   */
  stop(graceMs: number, farewellMs: number): Promise<void>;
}

/** How long work in flight may take to finish after SIGTERM, the farewell (ENTREPOT_SHUTDOWN_DELAY_SECONDS) included. */
export const DRAIN_MS = 60_000;

/** A wrapper passes on a signal that the terminal has sent us already; only what comes later than this is a second one. */
const SAME_SIGNAL_MS = 500;

/** How long it may take when the process that started this one is gone: nobody waits for us any more. */
const ORPHAN_MS = 1_000;

/** What the process may take beyond its grace, before it ends the hard way; less when nobody waits for it. */
export const OVERTIME_MS = 5_000;
const ORPHAN_OVERTIME_MS = 2_000;

/** How long the last spans may take to be sent: less than what the process may overrun by. */
const LAST_SPANS_MS = 1_500;

/**
 * What a process's main is: it builds the parts from the configuration and hands them to each other. The signal aborts
 * when the process is told to end before it has started: whatever `start` waits for ends with it.
 */
export type Start = (config: Config, log: Logger, signal: AbortSignal) => Promise<Running>;

/** Loads the configuration of a role and runs its process. Mistakes in the configuration end it before anything starts. */
export async function runRole(role: Exclude<Role, 'cli'>, start: Start): Promise<void> {
  let config: Config;
  try {
    config = loadConfig({ role, env: process.env });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
  const log = createLogger({ name: role, level: config.logLevel });
  for (const notice of config.notices) log.info(notice);
  const tracing = config.tracing && (await beginTracing(config.tracing, log));
  const startTraced = async (signal: AbortSignal): Promise<Running> => {
    const running = await start(config, log, signal);
    return {
      async stop(graceMs, farewellMs) {
        await running.stop(graceMs, farewellMs);
        await tracing?.stop(LAST_SPANS_MS);
      },
    };
  };
  await runProcess(log, startTraced, config.shutdownDelaySeconds * 1000);
}

/** What it needs is loaded only here: nobody else should pay for it. */
async function beginTracing(config: TracingConfig, log: Logger): Promise<Tracing> {
  const { startTracing } = await import('../telemetry/tracing.js');
  return startTracing({ config, version, log });
}

/**
 * Runs a process until SIGTERM, SIGINT, or, with ENTREPOT_STOP_WITH_STDIN=1, the end of its standard input: a launcher
 * that holds the other end of that pipe takes its children along however it dies, also while they are ending. A second
 * signal ends it at once.
 */
async function runProcess(
  log: Logger,
  start: (signal: AbortSignal) => Promise<Running>,
  farewellMs = 0,
): Promise<void> {
  prepareForStreams();
  process.on('unhandledRejection', error => die(log, error, 'a promise was rejected and nobody listened'));
  process.on('uncaughtException', error => die(log, error, 'an error was thrown and nobody caught it'));
  const told = new AbortController();
  const ended = untilTold(log, farewellMs).finally(() => told.abort());

  let running: Running;
  try {
    running = await start(told.signal);
  } catch (error) {
    if (!told.signal.aborted) die(log, error, 'cannot start');
    log.info('stopped before it had started');
    process.exit(0);
  }
  const grace = await ended;
  endTheHardWayAfter(log, grace.ms + OVERTIME_MS);
  try {
    await running.stop(grace.ms, grace.farewellMs);
    log.info('stopped');
    process.exit(0);
  } catch (error) {
    die(log, error, 'cannot stop in order');
  }
}

/**
 * Streams make and drop thousands of large buffers a second, for which V8's garbage collector is not made. Both flags
 * can be set while a process runs (the sizes of its heaps cannot), so it does not matter how it was started.
 */
export function prepareForStreams(): void {
  // V8 frees the buffers on another thread, which contends for the allocator with ours: without it, moving a byte costs
  // half the CPU time (measured with 1 GiB over gRPC).
  setFlagsFromString('--no-concurrent-array-buffer-sweeping');
  // V8 collects everything when old objects and the buffers made since the last time have outgrown a limit that, for
  // heaps as small as ours, is a few MiB away: up to thirty times a second, half of a gateway's time (seen while 4 GiB
  // were pushed and pulled: 243 full collections). At four times the size, it is the limit on buffers alone, 64 MiB,
  // that counts (19 collections, the same peak of memory).
  setFlagsFromString('--heap-growing-percent=300');
}

/** Resolves to the time that is left, when something tells this process to end. */
function untilTold(log: Logger, farewellMs: number): Promise<{ ms: number; farewellMs: number }> {
  return new Promise(resolve => {
    let toldAt: number | undefined;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (toldAt === undefined) {
          toldAt = performance.now();
          log.info({ signal }, 'stopping');
          resolve({ ms: DRAIN_MS, farewellMs });
        } else if (performance.now() - toldAt > SAME_SIGNAL_MS) {
          log.warn({ signal }, 'told to end once more: ended at once, with whatever was in flight');
          process.exit(1);
        }
      });
    }
    if (process.env.ENTREPOT_STOP_WITH_STDIN === '1') {
      const orphaned = () => {
        resolve({ ms: ORPHAN_MS, farewellMs: 0 });
        endTheHardWayAfter(log, ORPHAN_MS + ORPHAN_OVERTIME_MS);
      };
      process.stdin.once('end', orphaned).once('close', orphaned).once('error', orphaned).resume();
    }
  });
}

function endTheHardWayAfter(log: Logger, ms: number): void {
  setTimeout(() => {
    log.error('the process did not end in time, and is ended the hard way');
    process.exit(1);
  }, ms).unref();
}

function die(log: Logger, error: unknown, message: string): never {
  log.fatal({ err: error }, message);
  process.exit(1);
}
