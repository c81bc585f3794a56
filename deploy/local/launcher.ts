/**
 * `npm start`: a whole registry in two regions on this machine, as the processes that it consists of everywhere else.
 *
 * Started from the ground up (PostgreSQL, its tables, storage-proxies, workers, gateways), each step only when the one
 * below is healthy; stopped in the opposite order.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeConfig } from './config-file.js';
import { type DataFolder, openDataFolder, rotateLog } from './data-folder.js';
import { type Ending, watchForEnding } from './ending.js';
import { LocalError } from './errors.js';
import { takeLock } from './lock.js';
import { help, type Options, parseOptions } from './options.js';
import { checkPorts } from './ports.js';
import { type Cluster, startCluster } from './postgres/cluster.js';
import { keep } from './postgres/kept.js';
import { readyText, say, step } from './screen.js';
import { type Supervised, supervise } from './supervised.js';
import { kinds, partsOf } from './topology.js';

const dist = resolve(import.meta.dirname, '..', '..');
const projectFolder = resolve(dist, '..');
/** How long a process may take to finish what it is doing, after the first Ctrl-C. */
const GRACE_MS = 15_000;

/** Runs the stack until it is told to end. Returns the exit code; everything is stopped by then. */
export async function launch(parameters: readonly string[]): Promise<number> {
  // A terminal that has been closed must not keep us from stopping in order.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const ending = watchForEnding();
  let release = () => {};
  try {
    const options = parseOptions(parameters, projectFolder);
    if (options === undefined) {
      say(help);
      return 0;
    }
    const folder = openDataFolder(options.data);
    release = takeLock(folder.lock);
    await checkPorts(options.ports);
    await runStack(options, folder, ending);
    return 0;
  } catch (error) {
    console.error(`\n${error instanceof LocalError ? error.message : (error as Error)?.stack}\n`);
    return 1;
  } finally {
    release();
    ending.close();
  }
}

interface Stack {
  postgres?: Cluster;
  /** In the order of their start. */
  readonly groups: Supervised[][];
}

async function runStack(options: Options, folder: DataFolder, ending: Ending): Promise<void> {
  const stack: Stack = { groups: [] };
  ending.onInsisting(() => {
    say('Once more: everything is ended at once.');
    for (const part of stack.groups.flat()) part.kill();
    void stack.postgres?.stop('immediate');
  });
  try {
    await startStack(stack, options, folder, ending.signal);
    await untilOver(stack, folder, ending.signal);
  } catch (error) {
    // Being told to end in the middle of a start is no failure.
    if (!ending.signal.aborted) throw error;
  } finally {
    say(
      `\nStopping${ending.signal.aborted ? ` (${ending.signal.reason})` : ''}. A second Ctrl-C ends everything at once.`,
    );
    await stopStack(stack);
    rmSync(folder.processes, { force: true });
    say('Stopped.');
  }
}

async function startStack(stack: Stack, options: Options, folder: DataFolder, signal: AbortSignal): Promise<void> {
  say(`Starting Entrepot in ${folder.path}`);
  const { ports } = options;
  const log = folder.log('postgres');
  rotateLog(log);
  const postgres = await step('PostgreSQL', () =>
    startCluster({ folder: folder.postgres, port: ports.postgres, log, database: 'entrepot' }),
  );
  stack.postgres = postgres;
  signal.throwIfAborted();
  writeConfig(folder, ports, postgres.url);
  await step('tables', () => migrate(folder));
  for (const kind of kinds) {
    signal.throwIfAborted();
    const parts = partsOf(kind, ports);
    await step(parts.map(part => part.name).join(', '), async () => {
      const group: Supervised[] = [];
      stack.groups.push(group);
      for (const part of parts) {
        group.push(
          supervise(part, {
            dist,
            configPath: folder.config,
            logPath: folder.log,
            restart: options.restart,
            onChange: () => writeProcesses(folder, stack),
          }),
        );
      }
      await Promise.all(group.map(part => part.ready(signal)));
    });
  }
  writeProcesses(folder, stack);
  say(readyText(ports, folder.path, postgres, stack.groups.flat()));
}

/** Brings the tables up to date, with the same command that an operator uses. */
async function migrate(folder: DataFolder): Promise<void> {
  const log = folder.log('migrate');
  rotateLog(log);
  const program = keep({
    file: process.execPath,
    args: ['--enable-source-maps', join(dist, 'cli', 'main.js'), 'migrate'],
    cwd: folder.path,
    env: { ...definedEnv(), ENTREPOT_CONFIG: folder.config },
    log,
  });
  const code = await program.exited;
  if (code === 0) return;
  throw new LocalError(`"entrepot migrate" failed (exit code ${code}):\n${tailOf(log)}`);
}

/** Waits until somebody tells us to end. The loss of PostgreSQL ends everything: nothing works without it. */
async function untilOver(stack: Stack, folder: DataFolder, signal: AbortSignal): Promise<void> {
  const told = new Promise<undefined>(resolve => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  const code = await Promise.race([told, stack.postgres?.exited]);
  if (signal.aborted || code === undefined) return;
  throw new LocalError(
    `PostgreSQL ended unexpectedly (exit code ${code}). Its last words:\n${tailOf(folder.log('postgres'))}`,
  );
}

async function stopStack(stack: Stack): Promise<void> {
  for (const group of stack.groups.toReversed()) {
    if (group.length === 0) continue;
    await Promise.all(group.map(part => part.stop(GRACE_MS)));
    say(`  ✓ ${group.map(part => part.name).join(', ')}`);
  }
  if (stack.postgres !== undefined) {
    await stack.postgres.stop();
    say('  ✓ PostgreSQL');
  }
}

/** Writes who runs now, complete at every moment. */
function writeProcesses(folder: DataFolder, stack: Stack): void {
  const parts = stack.groups.flat().map(({ name, address, pid }) => [name, { address, pid: pid ?? null }] as const);
  const all = {
    launcher: { pid: process.pid },
    postgres: { pid: stack.postgres?.pid ?? null },
    ...Object.fromEntries(parts),
  };
  const unfinished = `${folder.processes}.new`;
  writeFileSync(unfinished, `${JSON.stringify(all, null, 2)}\n`);
  renameSync(unfinished, folder.processes);
}

function definedEnv(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).flatMap(([name, value]) => (value ? [[name, value]] : [])));
}

function tailOf(path: string): string {
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  return lines
    .slice(-15)
    .map(line => `    ${line}`)
    .join('\n');
}
