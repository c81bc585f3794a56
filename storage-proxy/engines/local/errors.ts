/** What the file system says, in the words of the engine contract. Paths stay in the cause: they are for the log only. */
import { fail, StatusError } from '../../../lib/rpc/errors.js';

/** The system's error code, for example `ENOENT`; undefined for errors that are not the system's. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && 'syscall' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

export function isMissing(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}

/** The StatusError for a failed call of the file system; anything else is handed back as it is. */
export function storeError(error: unknown): unknown {
  if (error instanceof StatusError) return error;
  const code = errorCode(error);
  switch (code) {
    case undefined:
      return error;
    case 'ENOSPC':
    case 'EDQUOT':
      return fail.diskFull(error);
    case 'EMFILE':
    case 'ENFILE':
      return fail.busy('the node has too many files open: raise its limit (ulimit -n)');
    case 'ENOENT':
    case 'ENOTDIR':
      return fail.storeUnreachable('the folder of storage_path is not there', error);
    case 'EACCES':
    case 'EPERM':
      return fail.storeUnreachable('the node may not write to or read from the folder of storage_path', error);
    case 'EROFS':
      return fail.storeUnreachable('the file system of storage_path is mounted read-only', error);
    default:
      return fail.storeUnreachable(`the file system of storage_path answered ${code}`, error);
  }
}

/** Runs a piece of work on the file system and maps what it throws. */
export async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storeError(error);
  }
}
