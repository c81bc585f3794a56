/**
 * The folder that keeps everything between starts (`.entrepot/`):
 *
 *     config.yaml      written at each start (config-file.ts)
 *     postgres/        the database (postgres/home.ts)
 *     storage/         usstorage/ and eustorage/: what the two regions' buckets would be
 *     logs/            one file for each process; that of the start before is kept as .old
 *     processes.json   who runs now, where, and with which process id
 *     launcher.lock    who uses the folder
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { codeOf, LocalError } from './errors.js';
import { regions } from './topology.js';

export interface DataFolder {
  readonly path: string;
  readonly config: string;
  readonly postgres: string;
  readonly storage: string;
  readonly processes: string;
  readonly lock: string;
  /** The path of a process's log. */
  log(name: string): string;
}

/** Makes the folder; throws a {@link LocalError} if it cannot be written. */
export function openDataFolder(path: string): DataFolder {
  const folder: DataFolder = {
    path,
    config: join(path, 'config.yaml'),
    postgres: join(path, 'postgres'),
    storage: join(path, 'storage'),
    processes: join(path, 'processes.json'),
    lock: join(path, 'launcher.lock'),
    log: name => join(path, 'logs', `${name}.log`),
  };
  try {
    mkdirSync(dirname(path), { recursive: true });
    // Not recursive: in a place like /proc, Node.js then tries for ever.
    if (!existsSync(path)) mkdirSync(path);
    mkdirSync(join(path, 'logs'), { recursive: true, mode: 0o700 });
    // A storage-proxy never makes the folder it is given: on a real machine an absent one is a disk that is not mounted.
    for (const { location } of regions) mkdirSync(join(folder.storage, location), { recursive: true, mode: 0o700 });
    const probe = join(path, '.write-probe');
    writeFileSync(probe, 'x');
    rmSync(probe);
  } catch (error) {
    throw new LocalError(
      `The folder ${path} cannot be written (${codeOf(error) ?? error}). Make it writable, or choose another: npm start -- --data FOLDER`,
    );
  }
  return folder;
}

/** Puts the log of the start before aside. */
export function rotateLog(path: string): void {
  try {
    renameSync(path, `${path}.old`);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}
