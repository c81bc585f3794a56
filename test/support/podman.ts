/** A podman of a test's own. A suite that uses it says so: `suite(name, { needs: ['podman'] })`. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, type CommandEnd, run } from './command.js';
import { containersSettings } from './containers.js';
import { type ImageOptions, writeLayout } from './images.js';
import { temporaryFolder } from './tmp.js';

export interface Podman {
  /** Runs `podman` with these parameters; its standard output. Throws, with its words, if it fails. */
  run(...parameters: string[]): Promise<string>;
  /** The same, for what may fail. */
  attempt(...parameters: string[]): Promise<CommandEnd>;
  /** Makes an image that podman knows by `name`. */
  load(name: string, options: ImageOptions): Promise<void>;
  /** Pushes `name`; the digest of the manifest that the registry then has. */
  push(name: string): Promise<string>;
  /** Pulls `name`. Returns the digests of the manifest, the configuration, and of the layers when unpacked. */
  pull(name: string): Promise<{ digest: string; id: string; layers: readonly string[] }>;
  /** Removes all images, with their layers. */
  forget(): Promise<void>;
}

/** Prepares a podman; what it stores is removed at the end of the suite. */
export async function preparePodman(): Promise<Podman> {
  const folder = await temporaryFolder('podman');
  const env = await containersSettings(folder);
  let layouts = 0;

  const podman: Podman = {
    run: (...parameters) => run('podman', parameters, { env }),
    attempt: (...parameters) => attempt('podman', parameters, { env }),
    async load(name, options) {
      const layout = `layout-${++layouts}`;
      await writeLayout(join(folder, layout), options);
      // podman makes a name of the path, which must be lower case: so it is a relative one.
      const id = (await run('podman', ['pull', '--quiet', `oci:${layout}:latest`], { env, cwd: folder })).trim();
      await podman.run('tag', id, name);
    },
    async push(name) {
      const digestFile = join(folder, 'digest');
      await podman.run('push', '--tls-verify=false', '--digestfile', digestFile, name);
      return (await readFile(digestFile, 'utf8')).trim();
    },
    async pull(name) {
      await podman.run('pull', '--quiet', '--tls-verify=false', name);
      const [image] = JSON.parse(await podman.run('image', 'inspect', name));
      return { digest: image.Digest, id: `sha256:${image.Id}`, layers: image.RootFS.Layers };
    },
    async forget() {
      await podman.run('rmi', '--all', '--force');
    },
  };
  return podman;
}
