/**
 * Finds the processes that a test file left behind.
 *
 * Three signs are read from /proc: the process group, the session (a test file leads its own), and a mark in the
 * environment, which also finds what has moved to a session of its own. Without /proc only the group can be asked.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** The variable that carries the mark; it is handed down to every process that a test starts. */
export const MARK = 'ENTREPOT_TEST_MARK';

export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

/** Living processes of the session led by `leader`, or marked with `mark`, without this process and the leader. */
export function leftovers(leader: number, mark: string): Leftover[] {
  let entries: string[];
  try {
    entries = readdirSync('/proc').filter(entry => /^\d+$/.test(entry));
  } catch {
    return groupLives(leader) ? [{ pid: leader, command: 'a process of its group' }] : [];
  }
  const found: Leftover[] = [];
  for (const pid of entries.map(Number)) {
    if (pid === process.pid) continue;
    const stat = statOf(pid);
    if (stat === undefined || stat.state === 'Z' || stat.state === 'X') continue;
    if (stat.group === leader || stat.session === leader || environmentOf(pid).includes(`${MARK}=${mark}\0`)) {
      found.push({ pid, command: commandOf(pid) });
    }
  }
  return found;
}

/** Kills processes, at once. */
export function killAll(processes: readonly Leftover[]): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended in the meantime.
    }
  }
}

/** Kills a whole process group, at once. */
export function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {
    // No process of it is left.
  }
}

function groupLives(leader: number): boolean {
  try {
    process.kill(-leader, 0);
    return true;
  } catch {
    return false;
  }
}

function statOf(pid: number): { state: string; group: number; session: number } | undefined {
  const text = read(`/proc/${pid}/stat`);
  // The second field is the name in parentheses, which may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, , group, session] = fields;
  if (state === undefined || state === '' || group === undefined || session === undefined) return undefined;
  return { state, group: Number(group), session: Number(session) };
}

function environmentOf(pid: number): string {
  return `${read(`/proc/${pid}/environ`)}\0`;
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() || read(`/proc/${pid}/comm`).trim();
}

/** The file's text, or nothing if the process is gone or not ours to read. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
