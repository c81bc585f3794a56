/**
 * A Docker Engine of a test's own: another data folder, socket and client configuration than the machine's, and no
 * network. It only pushes and pulls; its storage driver is the one that works on every file system, and mounts nothing.
 * A suite that uses it says so: `suite(name, { needs: ['docker', 'skopeo'] })`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, type CommandEnd, run } from './command.js';
import { type ImageOptions, writeLayout } from './images.js';
import { findCommand } from './needs.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';
import { until } from './wait.js';

export interface Docker {
  /** Runs `docker` with these parameters; its standard output. Throws, with its words, if it fails. */
  run(...parameters: string[]): Promise<string>;
  /** The same, for what may fail. */
  attempt(...parameters: string[]): Promise<CommandEnd>;
  /** Makes an image that the engine knows by `name`. */
  load(name: string, options: ImageOptions): Promise<void>;
  /** Pushes `name`; the digest of the manifest that the registry then has. */
  push(name: string): Promise<string>;
  /** Pulls `name`. Throws if any layer of it was here before, since then the registry was not asked for all. */
  pull(name: string): Promise<PulledImage>;
  /** Removes all images, with their layers. */
  forget(): Promise<void>;
}

export interface PulledImage {
  /** Of the manifest, as the registry gave it. */
  readonly digest: string;
  /** Of the configuration. */
  readonly id: string;
  /** Of the layers, unpacked. */
  readonly layers: readonly string[];
}

/** Starts an engine; it ends with the suite. */
export async function startDocker(): Promise<Docker> {
  const folder = await temporaryFolder('docker');
  const socket = `unix://${join(folder, 'socket')}`;
  await startEngine(folder, socket);
  const env = { DOCKER_HOST: socket, DOCKER_CONFIG: join(folder, 'client') };
  let archives = 0;

  const docker: Docker = {
    run: (...parameters) => run('docker', parameters, { env }),
    attempt: (...parameters) => attempt('docker', parameters, { env }),
    async load(name, options) {
      const layout = join(folder, `layout-${++archives}`);
      const archive = join(folder, `archive-${archives}.tar`);
      await writeLayout(layout, options);
      await run('skopeo', ['copy', `oci:${layout}:latest`, `docker-archive:${archive}:${name}`]);
      await docker.run('load', '--input', archive);
    },
    async push(name) {
      const output = await docker.run('push', name);
      const digest = /digest: (sha256:[0-9a-f]{64})/.exec(output)?.[1];
      if (digest === undefined) throw new Error(`docker push names no digest:\n${output}`);
      return digest;
    },
    async pull(name) {
      const output = await docker.run('pull', name);
      if (/Already exists|up to date/.test(output)) throw new Error(`a part of ${name} was here before:\n${output}`);
      const digest = /^Digest: (sha256:[0-9a-f]{64})$/m.exec(output)?.[1];
      if (digest === undefined) throw new Error(`docker pull names no digest:\n${output}`);
      const [image] = JSON.parse(await docker.run('image', 'inspect', name));
      return { digest, id: image.Id, layers: image.RootFS.Layers };
    },
    async forget() {
      const images = (await docker.run('images', '--quiet', '--all', '--no-trunc')).split('\n').filter(id => id !== '');
      if (images.length > 0) await docker.run('rmi', '--force', ...new Set(images));
    },
  };
  return docker;
}

async function startEngine(folder: string, socket: string): Promise<void> {
  const command = findCommand('dockerd');
  if (command === undefined) throw new Error('dockerd is not installed');
  const configuration = join(folder, 'daemon.json');
  await writeFile(configuration, JSON.stringify({ 'max-download-attempts': 1, 'storage-driver': 'vfs' }));
  const parameters = [
    ...['--config-file', configuration, '--host', socket, '--pidfile', join(folder, 'pid')],
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
    ...['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--ip-forward=false'],
  ];
  // What it mounts is mounted for it alone, and is gone with it, however it ends.
  const child = spawn('unshare', ['--mount', command, ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
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
    const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
    await exited;
    clearTimeout(timer);
  });
  const env = { DOCKER_HOST: socket, DOCKER_CONFIG: join(folder, 'client') };
  const answers = async () => !isRunning() || (await attempt('docker', ['version'], { env })).code === 0;
  if (!(await until(answers, 20_000)) || !isRunning()) throw new Error(`dockerd did not start:\n${log}`);
}
