/**
 * Where PostgreSQL lives: a folder with `data` (the cluster), `lib` (links, see binaries.ts) and `password`, and the
 * binaries, such that there is somebody who may run the one on the other (identity.ts).
 *
 * For root, when neither way works in place (no user namespaces, and a project below /root that nobody may enter), both
 * are put where the user `nobody` can reach them, below /var/lib, and the folder becomes a link to there.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { LocalError } from '../errors.js';
import { findBinaries, linkLibraries } from './binaries.js';
import { candidates, type Identity, type IdentityKind, identity, tryIdentity } from './identity.js';

export interface Home {
  /** The real folder, links resolved. */
  readonly folder: string;
  /** The folder of the binaries. */
  readonly native: string;
  readonly identity: Identity;
  /** PostgreSQL's major version. */
  readonly major: number;
}

/** How root's PostgreSQL is run; `copy` is `nobody` with everything moved to where that user can reach it. */
export type Way = IdentityKind | 'copy';

/** For tests: the only way to try. */
const FORCE = 'ENTREPOT_POSTGRES_RUN_AS';

/** Finds or makes the home at `folder`. */
export function openHome(folder: string): Home {
  refuseDanglingLink(folder);
  mkdirSync(folder, { recursive: true });
  const native = findBinaries();
  const forced = process.env[FORCE];
  const ways: Way[] = [...candidates(), ...(process.getuid?.() === 0 ? (['copy'] as const) : [])];
  const reasons: string[] = [];
  for (const way of ways.filter(candidate => forced === undefined || candidate === forced)) {
    const found = way === 'copy' ? tryCopy(folder, native) : tryInPlace(way, realpathSync(folder), native);
    if ('major' in found) return found;
    reasons.push(`${way}: ${found.reason}`);
  }
  throw new LocalError(
    `PostgreSQL cannot be run on ${folder}: ${reasons.join('; ') || `${FORCE}=${forced} is none of ${ways.join(', ')}`}. It never runs as root; run this as an ordinary user who owns the project's folder.`,
  );
}

function tryInPlace(kind: IdentityKind, folder: string, native: string): Home | { reason: string } {
  const who = identity(kind);
  linkLibraries(native, join(folder, 'lib'));
  giveTo(who, folder);
  const tried = tryIdentity(who, native, folder);
  if (tried.major === undefined) return tried;
  return { folder, native, identity: who, major: tried.major };
}

function tryCopy(folder: string, native: string): Home | { reason: string } {
  const real = moveOut(folder);
  return tryInPlace('nobody', real, copyBinaries(native, join(real, 'native')));
}

/** Moves the folder to where everybody may pass, unless it was before. Returns where it is. */
function moveOut(folder: string): string {
  if (lstatSync(folder).isSymbolicLink()) return realpathSync(folder);
  const parent = realpathSync(dirname(folder));
  const hash = createHash('sha256').update(parent).digest('hex').slice(0, 12);
  const outside = `/var/lib/entrepot-${hash}`;
  if (existsSync(outside)) {
    throw new LocalError(
      `${outside} holds an earlier database of ${parent}, which no longer points to it. Remove it, or link ${folder} to it.`,
    );
  }
  mkdirSync(outside, { mode: 0o755 });
  chmodSync(outside, 0o755);
  cpSync(folder, outside, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  rmSync(folder, { recursive: true });
  symlinkSync(outside, folder);
  return outside;
}

/** Copies the binaries, unless the same ones are there already. */
function copyBinaries(native: string, copy: string): string {
  const version = readFileSync(join(native, '..', 'package.json'), 'utf8');
  const marker = join(copy, 'copied-from.json');
  if (existsSync(marker) && readFileSync(marker, 'utf8') === version) return copy;
  rmSync(copy, { recursive: true, force: true });
  cpSync(native, copy, { recursive: true, preserveTimestamps: true });
  openToAll(copy);
  writeFileSync(marker, version);
  return copy;
}

/**
 * Runs `work` with a folder of the same binaries whose path means itself in a shell: initdb gives its own to one, between
 * double quotes. Nearly always that is the folder as it is.
 */
export async function withPlainPath<T>(native: string, work: (folder: string) => Promise<T>): Promise<T> {
  if (!/["$`\\]/.test(native)) return work(native);
  const place = mkdtempSync(join(tmpdir(), 'entrepot-initdb-'));
  try {
    chmodSync(place, 0o755);
    return await work(copyBinaries(native, join(place, 'native')));
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function openToAll(path: string): void {
  const stats = lstatSync(path);
  if (stats.isSymbolicLink()) return;
  if (stats.isDirectory()) for (const entry of readdirSync(path)) openToAll(join(path, entry));
  chmodSync(path, stats.isDirectory() || (stats.mode & 0o100) !== 0 ? 0o755 : 0o644);
}

/** Makes folder and data belong to `who`, when root calls and they belong to somebody else (another way was taken before). */
function giveTo(who: Identity, folder: string): void {
  if (process.getuid?.() !== 0) return;
  chownSync(folder, who.uid, who.gid);
  const data = join(folder, 'data');
  if (existsSync(data) && statSync(data).uid !== who.uid) chownTree(data, who);
}

function chownTree(path: string, who: Identity): void {
  lchownSync(path, who.uid, who.gid);
  if (!lstatSync(path).isDirectory()) return;
  for (const entry of readdirSync(path)) chownTree(join(path, entry), who);
}

function refuseDanglingLink(folder: string): void {
  if (!lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink() || existsSync(folder)) return;
  throw new LocalError(
    `${folder} is a link to ${readlinkSync(folder)}, which is gone, and the database with it. Remove the link to begin with an empty one.`,
  );
}
