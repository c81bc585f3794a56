/** What a process's connections tell about it, read from /proc. */
import { readdir, readFile, readlink } from 'node:fs/promises';

/**
 * The connections of a process to a port on which bytes lie that it has not taken: reads that wait for a slow consumer.
 * A connection that waits in the pool for its next use has none.
 */
export async function waitingReads(pid: number | 'self', port: number): Promise<string[]> {
  const own = await socketsOf(pid);
  const table = await readFile(`/proc/${pid}/net/tcp`, 'utf8');
  const found: string[] = [];
  for (const line of table.trim().split('\n').slice(1)) {
    const [, local, remote, state, queues, , , , , inode] = line.trim().split(/\s+/);
    const waiting = Number.parseInt(queues?.split(':')[1] ?? '0', 16);
    const isOurs = own.has(inode ?? '') && Number.parseInt(remote?.split(':')[1] ?? '0', 16) === port;
    if (isOurs && waiting > 0) found.push(`${local} state ${state}: ${waiting} bytes wait`);
  }
  return found;
}

async function socketsOf(pid: number | 'self'): Promise<Set<string>> {
  const descriptors = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(descriptors.map(each => readlink(`/proc/${pid}/fd/${each}`).catch(() => '')));
  return new Set(targets.flatMap(target => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
}
