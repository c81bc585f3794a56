/** Temporary folders that are removed at the end of the suite (or file) that made them. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd } from './suite.js';

/** Makes an empty folder, passable for every user; returns its absolute path. */
export async function temporaryFolder(label = 'x'): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `entrepot-${label}-`));
  atEnd(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  await chmod(folder, 0o755);
  return folder;
}
