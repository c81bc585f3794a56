/** What a running process holds: memory after a collection, open files, handles. For processes with probe.ts in them. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { StartedProcess } from '../support/process.js';
import { until } from '../support/wait.js';

export interface Usage {
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** How many there are of each kind of open file, and of what keeps Node alive. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Asks processes that were started with `environment`. */
export class Probes {
  readonly #folder: string;
  readonly #asked = new Map<number, number>();

  /** `folder` is an empty one. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** What must stand in the environment of the processes. */
  get environment(): Record<string, string> {
    const probe = new URL('./probe.js', import.meta.url).href;
    return { NODE_OPTIONS: `--import=${probe}`, ENTREPOT_TEST_PROBE: this.#folder };
  }

  async ask({ pid, name, kill }: StartedProcess): Promise<Usage> {
    const number = (this.#asked.get(pid) ?? 0) + 1;
    this.#asked.set(pid, number);
    kill('SIGUSR2');
    const answer = `${pid}-${number}`;
    if (!(await until(async () => (await readdir(this.#folder)).includes(answer), 20_000))) {
      throw new Error(`${name} does not tell what it holds`);
    }
    const told: { heapBytes: number; externalBytes: number; resources: string[] } = JSON.parse(
      await readFile(join(this.#folder, answer), 'utf8'),
    );
    const counts: Record<string, number> = {};
    const count = (kind: string) => {
      counts[kind] = (counts[kind] ?? 0) + 1;
    };
    for (const kind of told.resources) count(kind);
    for (const kind of await openFiles(pid)) count(kind);
    return { heapBytes: told.heapBytes, externalBytes: told.externalBytes, counts };
  }
}

/** The open files of a process: connections by where they lead, true files by their path, others by their kind. */
async function openFiles(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const peers = await connections(pid);
  const targets = await Promise.all((await readdir(folder)).map(fd => readlink(join(folder, fd)).catch(() => '')));
  return targets
    .filter(target => target !== '')
    .map(
      target => peers.get(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '') ?? `open ${target.replace(/:\[\d+\]$/, '')}`,
    );
}

/** Where the connections of the machine lead, by the number of their socket. A client's own port says nothing. */
async function connections(pid: number): Promise<Map<string, string>> {
  const rows = (await readFile(`/proc/${pid}/net/tcp`, 'utf8')).trim().split('\n').slice(1);
  const port = (address = '') => Number.parseInt(address.split(':')[1] ?? '0', 16);
  const columns = rows.map(row => row.trim().split(/\s+/));
  const listening = new Set(columns.filter(([, , , state]) => state === '0A').map(([, local]) => port(local)));
  const lead = ([, local, remote]: string[]) =>
    listening.has(port(local)) ? `connection at port ${port(local)}` : `connection to port ${port(remote)}`;
  return new Map(columns.map(each => [each[9] ?? '', lead(each)]));
}

/**
 * Pools of connections are as large as their busiest moment made them, each connection with its timers. What is leaked
 * shows as one for each of many requests.
 */
const SLACK = 4;
const isPooled = (kind: string) => kind.startsWith('connection') || ['TCPSocketWrap', 'Timeout'].includes(kind);

/** What there is more of in `after` than in `before`, in words. */
export function growth(before: Usage, after: Usage): string[] {
  return Object.entries(after.counts)
    .filter(([kind, count]) => count > (before.counts[kind] ?? 0) + (isPooled(kind) ? SLACK : 0))
    .map(([kind, count]) => `${kind}: ${before.counts[kind] ?? 0} became ${count}`);
}
