/** File systems in files, for tests that need a disk of their own. Root only. */
import { join } from 'node:path';
import { run } from './command.js';
import { temporaryFolder } from './tmp.js';

/** Mounts the file system that is in `image`. */
export async function mountImage(image: string, at: string): Promise<void> {
  await run('mount', ['-o', 'loop', image, at]);
}

/**
 * Mounts it anew, as it is on the disk by now: a copy of it, since the file system may live on after it is unmounted here.
 * A process with a mount namespace of its own, as those in containers and network namespaces have, holds what was mounted
 * when it began, and whoever mounts the image while that one runs gets the same file system back, with all that is in
 * memory only. `options`: what mount needs to take a copy for a file system of its own. Returns where the copy is.
 */
export async function mountFromDisk(image: string, at: string, options: readonly string[] = []): Promise<string> {
  await run('umount', [at]);
  const copy = join(await temporaryFolder('volume'), 'image');
  await run('cp', ['--sparse=always', image, copy]);
  await run('mount', ['-o', ['loop', ...options].join(','), copy, at]);
  return copy;
}
