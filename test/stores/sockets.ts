/** What a process's connections tell about it, read from /proc. */
import { readdir, readFile, readlink } from 'node:fs/promises';

/**
 * The connections of a process to a port on which bytes lie that it has not taken: reads that wait for a slow consumer.
 * A connection that waits in the pool for its next use has none.
 */
export async function waitingReads(pid: number | 'self', port: number): Promise<string[]> {
  const found = (await connectionsOf(pid)).filter(each => each.port === port && each.waiting > 0);
  return found.map(({ local, state, waiting }) => `${local} state ${state}: ${waiting} bytes wait`);
}

/** The connections of a process to ports of this machine. */
export async function connections(pid: number, ports: readonly number[]): Promise<string[]> {
  return (await connectionsOf(pid)).filter(({ port }) => ports.includes(port)).map(({ local }) => local);
}

/** Connections to a port of this machine whose process is gone, and which the server has not closed: it is not done with them. */
export async function abandoned(port: number): Promise<string[]> {
  const left = (await table('self')).filter(
    each => each.port === port && each.inode === '0' && each.state !== TIME_WAIT,
  );
  return left.map(({ local, state }) => `${local} state ${state}`);
}

/** Both sides have closed, as /proc writes it. */
const TIME_WAIT = '06';

interface Connection {
  readonly local: string;
  /** The other side's. */
  readonly port: number;
  readonly state: string;
  /** Bytes that the process has not taken yet. */
  readonly waiting: number;
  /** Of its socket; 0 if no process has it. */
  readonly inode: string;
}

async function connectionsOf(pid: number | 'self'): Promise<Connection[]> {
  const own = await socketsOf(pid);
  return (await table(pid)).filter(({ inode }) => own.has(inode));
}

/** All connections over IPv4, of whatever process. */
async function table(pid: number | 'self'): Promise<Connection[]> {
  const lines = (await readFile(`/proc/${pid}/net/tcp`, 'utf8')).trim().split('\n').slice(1);
  const number = (pair: string | undefined) => Number.parseInt(pair?.split(':')[1] ?? '0', 16);
  return lines.map(line => {
    const [, local = '', remote, state = '', queues, , , , , inode = ''] = line.trim().split(/\s+/);
    return { local, port: number(remote), state, waiting: number(queues), inode };
  });
}

async function socketsOf(pid: number | 'self'): Promise<Set<string>> {
  const descriptors = await readdir(`/proc/${pid}/fd`);
  const targets = await Promise.all(descriptors.map(each => readlink(`/proc/${pid}/fd/${each}`).catch(() => '')));
  return new Set(targets.flatMap(target => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []));
}
