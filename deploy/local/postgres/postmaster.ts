/**
 * `postmaster.pid`: PostgreSQL's own mark of a server that uses a data folder.
 *
 * PostgreSQL trusts it if any process has that number, and after a crash and a reboot (or a restart of a container)
 * another one may well have it. Here it counts only if that process is a PostgreSQL of this folder.
 */
import { readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LocalError } from '../errors.js';

const END_WITHIN_MS = 10_000;

/** The process id that the data folder names, if it names one. */
export function postmasterPid(data: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(join(data, 'postmaster.pid'), 'utf8'), 10);
    return pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Whether that process lives and is the server of that data folder. Its working folder is the data folder. */
export function isPostmasterOf(pid: number, data: string): boolean {
  try {
    process.kill(pid, 0);
    if (process.platform !== 'linux') return true;
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(data);
  } catch {
    return false;
  }
}

/**
 * Clears the way for a start: a mark without its server is removed. A server without an owner (its keeper was killed,
 * too) is ended, orderly; the caller has made sure that nobody else uses the folder.
 */
export async function clearStalePidFile(data: string): Promise<void> {
  const pid = postmasterPid(data);
  if (pid === undefined) return;
  const deadline = Date.now() + END_WITHIN_MS;
  let asked = false;
  while (isPostmasterOf(pid, data)) {
    if (!asked) process.kill(pid, 'SIGINT');
    asked = true;
    if (Date.now() > deadline) {
      throw new LocalError(`A PostgreSQL of an earlier start (process ${pid}) still uses ${data} and does not end.`);
    }
    await sleep(50);
  }
  rmSync(join(data, 'postmaster.pid'), { force: true });
}
