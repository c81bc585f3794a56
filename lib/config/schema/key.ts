/**
 * What is known of one key of the configuration: what it takes, what counts without it, who reads it, what it is for.
 *
 * Everything that anybody needs to know of a key comes from here: the reading of it, the refusal of misspelt ones, and
 * the tables of docs/configuration.md.
 */
import type { z } from 'zod';
import type { Role } from '../config.js';

export interface KeySchema<T = unknown, A = unknown> {
  /** What it takes. Its description is what the documentation says of that. */
  readonly value: z.ZodType<T>;
  /** What counts where it is not given. */
  readonly absent: A;
  /** The same in words (of Markdown), where `absent` alone does not tell. */
  readonly absentMeans?: string;
  /** The processes that it makes a difference to. */
  readonly readBy: readonly Role[];
  /** What it is for, in one line (of Markdown). */
  readonly meaning: string;
  /** In the environment its value is a text as it stands, and not YAML. */
  readonly plain?: true;
}

/** A section of the documentation, with its keys in their order there. */
export interface KeyGroup {
  readonly title: string;
  readonly keys: Readonly<Record<string, KeySchema>>;
}

/** Declares a key, and finds out its types. */
export function key<T, const A>(schema: KeySchema<T, A>): KeySchema<T, A> {
  return schema;
}

export const GATEWAY = ['gateway'] as const satisfies readonly Role[];
export const WORKER = ['worker'] as const satisfies readonly Role[];
export const STORAGE_PROXY = ['storage-proxy'] as const satisfies readonly Role[];
export const COMMAND = ['cli'] as const satisfies readonly Role[];
/** Those that have the database. */
export const WITH_DATABASE = ['gateway', 'worker', 'cli'] as const satisfies readonly Role[];
/** Those that serve. */
export const SERVERS = ['gateway', 'storage-proxy', 'worker'] as const satisfies readonly Role[];
export const ALL = ['gateway', 'storage-proxy', 'worker', 'cli'] as const satisfies readonly Role[];
