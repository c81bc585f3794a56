/**
 * A limit of memory for processes, as a container has one: what the kernel keeps of their files counts, and is reused
 * within it. Needs root and a control group hierarchy, of either version, that can be written to.
 */
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { atEnd } from './suite.js';

const hierarchies = [
  { folder: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
  { folder: '/sys/fs/cgroup', limit: 'memory.max' },
];

let count = 0;

/**
 * Makes a group that may use so many bytes; it ends with the suite. Returns the beginning of a command that is to run in
 * it, and that becomes that command.
 */
export async function memoryGroup(bytes: number): Promise<readonly string[]> {
  const name = `entrepot-${process.pid}-${++count}`;
  for (const { folder, limit } of hierarchies) {
    const group = join(folder, name);
    try {
      await mkdir(group);
    } catch {
      continue;
    }
    atEnd(() => rmdir(group));
    try {
      await writeFile(join(group, limit), String(bytes), { flag: 'r+' });
    } catch {
      continue;
    }
    return ['sh', '-c', 'echo $$ > "$0" && exec "$@"', join(group, 'cgroup.procs')];
  }
  throw new Error('no control group with a limit of memory can be made below /sys/fs/cgroup');
}
