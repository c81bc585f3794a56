/** A file that is read anew for each connection: a certificate that was replaced is used without a restart. */
import { readFileSync } from 'node:fs';

export class FreshFile {
  readonly #path: string;
  #last: string;

  /** `key` is the setting that names the file. Throws, naming both, if it cannot be read. */
  constructor(path: string, key: string) {
    this.#path = path;
    try {
      this.#last = readFileSync(path, 'utf8');
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
      throw new Error(`the file ${path}, which ${key} names, cannot be read (${code})`, { cause: error });
    }
  }

  /** What is in it; while it cannot be read, what was in it before. Never throws: a connection is made somewhere deep inside of a driver. */
  text(): string {
    try {
      this.#last = readFileSync(this.#path, 'utf8') || this.#last;
    } catch {}
    return this.#last;
  }
}
