/**
 * Where settings come from: one file, and over it the environment.
 *
 * Only keys of our own (`ENTREPOT_…`) may be given in the environment, under the same name, as YAML; there they win.
 */
import { readFileSync } from 'node:fs';
import { ENTREPOT_KEYS, TEXT_KEYS } from './keys.js';
import type { Problems } from './problems.js';
import { parseYaml } from './yaml-text.js';

/** The file that is read if neither an option nor `ENTREPOT_CONFIG` names one: where Quay's image keeps its own. */
const DEFAULT_FILE = '/conf/stack/config.yaml';

/** The process's environment, or a part of it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** One key's value, not validated yet. */
export interface Setting {
  readonly value: unknown;
  readonly from: 'file' | 'environment';
}

/** Everything that was given, by key. A key without a value (null, or an empty variable) is absent. */
export type Settings = ReadonlyMap<string, Setting>;

/** Which file to read. */
export function configFile(file: string | undefined, env: Environment): string {
  return file ?? (env.ENTREPOT_CONFIG || DEFAULT_FILE);
}

/** Reads the file, if there is to be one, and the environment over it. */
export function readSettings(file: string | undefined, env: Environment, problems: Problems): Settings {
  const settings = new Map<string, Setting>();
  for (const [key, value] of Object.entries(file === undefined ? {} : readFile(file, problems))) {
    if (value !== null && value !== undefined) settings.set(key, { value, from: 'file' });
  }
  for (const key of ENTREPOT_KEYS) {
    const value = readVariable(key, env[key], problems);
    if (value !== null && value !== undefined) settings.set(key, { value, from: 'environment' });
  }
  return settings;
}

function readFile(file: string, problems: Problems): object {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    problems.add(file, unreadable(error));
    return {};
  }
  const result = parseYaml(text);
  if ('mistakes' in result) {
    for (const mistake of result.mistakes) problems.add(file, mistake);
    return {};
  }
  if (result.value === null || typeof result.value !== 'object' || Array.isArray(result.value)) {
    const what = result.value === null ? 'is empty' : 'is not a mapping';
    problems.add(file, `the file ${what}; it must hold lines of the form KEY: value`);
    return {};
  }
  return result.value;
}

function unreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
      return 'there is no such file; name the right one with the environment variable ENTREPOT_CONFIG (or --config)';
    case 'EACCES':
      return 'this process may not read the file; change its owner or mode';
    case 'EISDIR':
      return 'this is a directory; name the file in it, for example config.yaml';
    default:
      return `the file cannot be read (${typeof code === 'string' ? code : 'unknown error'})`;
  }
}

function readVariable(key: string, text: string | undefined, problems: Problems): unknown {
  if (text === undefined || text.trim() === '') return undefined;
  // `[::1]:8080` is a fine address and no YAML at all: plain texts are taken as they are, unless quoted.
  if (TEXT_KEYS.has(key) && !/^\s*["']/.test(text)) return text.trim();
  const result = parseYaml(text);
  if ('value' in result) return result.value;
  for (const mistake of result.mistakes) problems.add(key, `${mistake} (given in the environment)`);
  return undefined;
}
