/**
 * One launcher at a time for a data folder: a file that names the process, and when that process was started, since a
 * number alone is soon given to somebody else.
 */
import { execFileSync } from 'node:child_process';
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { codeOf, LocalError } from './errors.js';

interface Owner {
  readonly pid: number;
  readonly started: string;
}

/** Takes the lock; returns the function that gives it back. Throws a {@link LocalError} if another launcher has it. */
export function takeLock(path: string): () => void {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, JSON.stringify({ pid: process.pid, started: startOf(process.pid) } satisfies Owner));
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      if (tryLink(own, path)) return () => rmSync(path, { force: true });
      const owner = read(path);
      if (owner !== undefined && startOf(owner.pid) === owner.started) {
        throw new LocalError(
          `Another launcher (process ${owner.pid}) already uses these data (${path}). Stop it, or choose another folder and other ports: npm start -- --data FOLDER --port-base 9080`,
        );
      }
      rmSync(path, { force: true });
    }
    throw new LocalError(`The lock ${path} cannot be taken; several launchers seem to start at once. Try again.`);
  } finally {
    rmSync(own, { force: true });
  }
}

/** A link either is made with its content complete, or exists already: there is no moment between. */
function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function read(path: string): Owner | undefined {
  try {
    const { pid, started } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Owner>;
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}

/** When a process was started, as an opaque text; undefined if there is no such process. */
function startOf(pid: number): string {
  try {
    if (process.platform === 'linux') {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'gone';
    }
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
  } catch {
    return 'gone';
  }
}
