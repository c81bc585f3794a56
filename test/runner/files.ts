/** Which test files there are. */
import { existsSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

/** Folders below test/ that are not part of the plain tier. `fixtures` holds files that misbehave on purpose. */
export const otherTiers = ['ci', 'engines', 'long', 'bench'] as const;
const notTests = ['fixtures', 'support', 'stores', 'runner', 'architecture'];

export interface Selection {
  /** The folder of the compiled tests, and the one of their sources. */
  readonly compiled: string;
  readonly sources: string;
  /** One of `otherTiers`; undefined: the plain tier. */
  readonly tier: string | undefined;
  /** Parts of paths, one of which must occur; none: all files. */
  readonly filters: readonly string[];
}

/**
 * The compiled test files to run, sorted, as paths relative to `compiled`. A compiled file whose source is gone is
 * what an earlier build left, and is passed over.
 */
export function findTestFiles(selection: Selection): string[] {
  const excluded = [...notTests, ...otherTiers].filter(folder => folder !== selection.tier);
  return readdirSync(selection.compiled, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith('.test.js'))
    .map(entry => relative(selection.compiled, join(entry.parentPath, entry.name)))
    .filter(file => !excluded.includes(file.split(sep)[0] ?? ''))
    .filter(file => selection.tier === undefined || file.startsWith(selection.tier + sep))
    .filter(file => existsSync(join(selection.sources, file.replace(/\.js$/, '.ts'))))
    .filter(file => selection.filters.length === 0 || selection.filters.some(part => file.includes(part)))
    .sort();
}
