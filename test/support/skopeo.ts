/** skopeo, for tests: `suite(name, { needs: ['skopeo'] })`. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, type CommandEnd, run } from './command.js';
import { sha256 } from './oci-client.js';
import { temporaryFolder } from './tmp.js';

export interface CopiedImage {
  /** Of the manifest. */
  readonly digest: string;
  /** Of the configuration and the layers, sorted. */
  readonly blobs: readonly string[];
}

/** Pushes the image or index named `latest` of a layout, unchanged. */
export async function skopeoPush(layout: string, name: string): Promise<void> {
  await run('skopeo', pushing(layout, name));
}

/** The same, for what may fail. */
export async function trySkopeoPush(layout: string, name: string): Promise<CommandEnd> {
  return attempt('skopeo', pushing(layout, name));
}

function pushing(layout: string, name: string): string[] {
  return ['copy', '--all', '--preserve-digests', '--dest-tls-verify=false', `oci:${layout}:latest`, url(name)];
}

/** Pulls an image, unchanged, and says what came. skopeo itself checks every blob's digest. */
export async function skopeoPull(name: string): Promise<CopiedImage> {
  const folder = await temporaryFolder('skopeo');
  await run('skopeo', ['copy', '--preserve-digests', '--src-tls-verify=false', url(name), `dir:${folder}`]);
  const files = await readdir(folder);
  return {
    digest: sha256(await readFile(join(folder, 'manifest.json'))),
    blobs: files
      .filter(file => /^[0-9a-f]{64}$/.test(file))
      .map(hex => `sha256:${hex}`)
      .sort(),
  };
}

/** Tries to pull an image, for when that must fail. */
export async function trySkopeoPull(name: string): Promise<CommandEnd> {
  const folder = await temporaryFolder('skopeo');
  return attempt('skopeo', ['copy', '--retry-times', '0', '--src-tls-verify=false', url(name), `dir:${folder}`]);
}

function url(name: string): string {
  return `docker://${name}`;
}
