/** Docker Engine and podman for a test, each with folders of its own, so that the machine's own are left alone. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findCommand } from '../support/needs.js';
import { atEnd } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const run = promisify(execFile);

/** Runs an engine's command line; resolves to what it printed. Rejects, with what it said, if it fails. */
export type Engine = (...parameters: readonly string[]) => Promise<string>;

/** Starts a Docker Engine without any network of its own; it ends with the suite. */
export async function startDocker(): Promise<Engine> {
  const folder = await temporaryFolder('docker');
  const socket = `unix://${join(folder, 'docker.sock')}`;
  const daemon = spawn(
    findCommand('dockerd') ?? 'dockerd',
    [
      ...['--iptables=false', '--ip6tables=false', '--bridge=none'],
      ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
      ...['-p', join(folder, 'pid'), '-H', socket],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let log = '';
  const collect = (text: string) => {
    log += text;
  };
  daemon.stdout.setEncoding('utf8').on('data', collect);
  daemon.stderr.setEncoding('utf8').on('data', collect);
  const exited = once(daemon, 'exit');
  atEnd(async () => {
    daemon.kill('SIGTERM');
    await exited;
  });
  const docker = commandLine('docker', { DOCKER_HOST: socket, DOCKER_CONFIG: join(folder, 'cli') });
  const answers = () =>
    docker('version').then(
      () => true,
      () => false,
    );
  if (!(await until(answers, 20_000))) throw new Error(`dockerd does not answer:\n${log}`);
  return docker;
}

/** podman with its own storage. */
export async function openPodman(): Promise<Engine> {
  const folder = await temporaryFolder('podman');
  const storage = join(folder, 'storage.conf');
  const [graph, state] = [join(folder, 'graph'), join(folder, 'run')];
  await writeFile(storage, `[storage]\ndriver="vfs"\ngraphroot="${graph}"\nrunroot="${state}"\n`);
  return commandLine('podman', { CONTAINERS_STORAGE_CONF: storage });
}

function commandLine(command: string, env: Readonly<Record<string, string>>): Engine {
  return async (...parameters) => {
    const { stdout } = await run(findCommand(command) ?? command, parameters, {
      env: { ...process.env, ...env },
      timeout: 60_000,
      maxBuffer: 16 << 20,
    });
    return stdout.trim();
  };
}
