/**
 * As whom PostgreSQL runs. It refuses to be root, so root has to become somebody, in one of two ways:
 *
 * - `namespace`: a user namespace in which root has another number. Outside of it nothing changes: binaries and data
 *   stay where they are and belong to root. Not every kernel or container allows it.
 * - `nobody`: that user, who must then be able to reach the binaries and the data.
 *
 * Anybody else runs it as `caller`, unless that user has no name (a container started with a bare number), which initdb
 * does not accept; then the namespace helps, too.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { binaryEnvironment } from './binaries.js';

export type IdentityKind = 'caller' | 'namespace' | 'nobody';

export interface Identity {
  readonly kind: IdentityKind;
  /** The user and group that own its files, as seen from here. */
  readonly uid: number;
  readonly gid: number;
}

/** How to start a program as an identity: for child_process.spawn. */
export interface Invocation {
  readonly file: string;
  readonly args: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
}

const NOBODY = 65534;

/** The kinds that may work for this caller, best first. */
export function candidates(): IdentityKind[] {
  if (process.getuid?.() === 0) return ['namespace', 'nobody'];
  return callerHasName() ? ['caller'] : ['namespace', 'caller'];
}

export function identity(kind: IdentityKind): Identity {
  if (kind === 'nobody') return { kind, uid: NOBODY, gid: NOBODY };
  return { kind, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };
}

/** How to start `program` as `who`. The process is that program itself, not a shell above it. */
export function invocation(who: Identity, program: string, args: readonly string[]): Invocation {
  if (who.kind === 'caller') return { file: program, args };
  if (who.kind === 'nobody') return { file: program, args, uid: who.uid, gid: who.gid };
  const { uid, gid } = namedUser();
  return { file: 'unshare', args: ['--user', `--map-user=${uid}`, `--map-group=${gid}`, '--', program, ...args] };
}

/**
 * Tries whether `who` can run the binaries and write to `folder`, by doing it. Returns PostgreSQL's major version, or
 * the reason why not.
 */
export function tryIdentity(
  who: Identity,
  native: string,
  folder: string,
): { major: number } | { major?: never; reason: string } {
  // By its whole path: a program may well be started in a folder that it could not have reached by itself.
  const script = 'test -w "$2" && test -x "$2" && exec "$1" -V';
  const parameters = ['-c', script, 'sh', join(native, 'bin', 'postgres'), folder];
  const { file, args, uid, gid } = invocation(who, '/bin/sh', parameters);
  const done = spawnSync(file, args, {
    cwd: join(folder, 'lib'),
    env: binaryEnvironment(),
    encoding: 'utf8',
    timeout: 20_000,
    ...(uid === undefined ? {} : { uid, gid }),
  });
  if (done.error !== undefined) return { reason: done.error.message };
  const version = /PostgreSQL\) (\d+)/.exec(done.stdout)?.[1];
  if (done.status === 0 && version !== undefined) return { major: Number(version) };
  return { reason: done.stderr.trim() || `${folder} cannot be reached or written (exit code ${done.status})` };
}

/** A user of this system that is not root: inside the namespace PostgreSQL is that one, and looks up its name. */
function namedUser(): { uid: number; gid: number } {
  try {
    const users = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map(line => line.split(':'))
      .map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
      .filter(user => user.uid > 0 && user.gid > 0);
    return users.find(user => user.name === 'nobody') ?? users[0] ?? { uid: NOBODY, gid: NOBODY };
  } catch {
    return { uid: NOBODY, gid: NOBODY };
  }
}

function callerHasName(): boolean {
  try {
    userInfo();
    return true;
  } catch {
    return false;
  }
}
