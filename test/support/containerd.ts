/**
 * A containerd of a test's own, reached with `ctr`. It only pushes, pulls and unpacks; its snapshotter is the one that
 * works on every file system. A suite that uses it says so: `suite(name, { needs: ['containerd'] })`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, type CommandEnd, run } from './command.js';
import { findCommand } from './needs.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';
import { until } from './wait.js';

export interface Containerd {
  /** Runs `ctr` with these parameters; its standard output. Throws, with its words, if it fails. */
  run(...parameters: string[]): Promise<string>;
  /** The same, for what may fail. */
  attempt(...parameters: string[]): Promise<CommandEnd>;
  /** Pulls over plain HTTP and unpacks; the digest of what came, a manifest or an index. */
  pull(name: string, ...more: string[]): Promise<string>;
  /** The digest of an image that is here; undefined if it is not. */
  digestOf(name: string): Promise<string | undefined>;
  /** Removes all images, with their layers. */
  forget(): Promise<void>;
  /** Says for `--hosts-dir` where the images of `host` are to be had: the first of these that answers. The folder. */
  mirrors(host: string, urls: readonly string[]): Promise<string>;
}

/** Starts it; it ends with the suite. */
export async function startContainerd(): Promise<Containerd> {
  const folder = await temporaryFolder('containerd');
  const socket = join(folder, 'socket');
  const ctr = (parameters: readonly string[]) => ['--address', socket, ...parameters];
  await startDaemon(folder, socket);

  const containerd: Containerd = {
    run: (...parameters) => run('ctr', ctr(parameters)),
    attempt: (...parameters) => attempt('ctr', ctr(parameters)),
    async pull(name, ...more) {
      await containerd.run('images', 'pull', '--plain-http', '--snapshotter', 'native', ...more, name);
      const digest = await containerd.digestOf(name);
      if (digest === undefined) throw new Error(`ctr has pulled ${name}, and does not have it`);
      return digest;
    },
    async digestOf(name) {
      const lines = (await containerd.run('images', 'list', `name==${name}`)).trim().split('\n').slice(1);
      return /sha256:[0-9a-f]{64}/.exec(lines.join())?.[0];
    },
    async forget() {
      const names = (await containerd.run('images', 'list', '--quiet')).split('\n').filter(name => name !== '');
      if (names.length > 0) await containerd.run('images', 'remove', '--sync', ...names);
    },
    async mirrors(host, urls) {
      const hosts = join(folder, 'hosts');
      await mkdir(join(hosts, host), { recursive: true });
      const entries = urls.map(url => `[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`);
      await writeFile(join(hosts, host, 'hosts.toml'), entries.join(''));
      return hosts;
    },
  };
  return containerd;
}

async function startDaemon(folder: string, socket: string): Promise<void> {
  const command = findCommand('containerd');
  if (command === undefined) throw new Error('containerd is not installed');
  const configuration = join(folder, 'config.toml');
  await writeFile(
    configuration,
    [
      'version = 2',
      `root = "${folder}/root"`,
      `state = "${folder}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      '[grpc]',
      `  address = "${socket}"`,
    ].join('\n'),
  );
  // What it mounts is mounted for it alone, and is gone with it, however it ends.
  const child = spawn('unshare', ['--mount', command, '--config', configuration], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  const exited = once(child, 'exit');
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  atEnd(async () => {
    if (!isRunning()) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await exited;
    clearTimeout(timer);
  });
  const answers = async () => !isRunning() || (await attempt('ctr', ['--address', socket, 'version'])).code === 0;
  if (!(await until(answers, 20_000)) || !isRunning()) throw new Error(`containerd did not start:\n${log}`);
}
