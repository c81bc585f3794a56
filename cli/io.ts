/** What a command talks to. `process` is one; a test may give another. */
import type { Readable } from 'node:stream';
import type { Environment } from '../lib/config/source.js';

/** A stream of text that may be a terminal. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** The width of the terminal. */
  readonly columns?: number;
}

export interface Io {
  readonly env: Environment;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Output;
  readonly stderr: Output;
}
