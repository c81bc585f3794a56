/** A storage folder seen from outside: what lies in it, and who has it open. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Everything below `root` but the marker and folders for blobs: blobs, uploads, and whatever else was left. */
export async function contentOf(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .map(entry => ({ entry, path: relative(root, join(entry.parentPath, entry.name)) }))
    .filter(({ entry, path }) => !entry.isDirectory() || path.startsWith('uploads/'))
    .map(({ path }) => path)
    .filter(path => path !== '.entrepot-location')
    .sort();
}

/** The files below `root` that the process has open. */
export async function openFilesOf(pid: number | 'self', root: string): Promise<string[]> {
  const descriptors = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(descriptors.map(each => readlink(`/proc/${pid}/fd/${each}`).catch(() => '')));
  return targets.filter(target => target.startsWith(`${root}/`)).map(target => relative(root, target));
}

/** Resident memory of a process in bytes. */
export async function memoryOf(pid: number | 'self'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
