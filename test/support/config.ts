/** What the tests of the configuration share: fixtures in the source tree, files of their own, and the mistakes of a load. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config, Role } from '../../lib/config/config.js';
import { ConfigError, loadConfig } from '../../lib/config/load.js';
import type { Environment } from '../../lib/config/source.js';

/** The path of a file in test/config/fixtures. (The compiled test is in dist/test/support.) */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../../../test/config/fixtures/${name}`, import.meta.url));
}

/** A file with this text, given to `use` and removed after it. */
export function withFile<T>(text: string, use: (file: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-config-'));
  try {
    const file = join(folder, 'config.yaml');
    writeFileSync(file, text);
    return use(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The least that a gateway or worker of two locations needs. */
export const TWO_LOCATIONS = `
DB_URI: postgresql://entrepot:hunter2@127.0.0.1:5432/entrepot
DISTRIBUTED_STORAGE_CONFIG:
  usstorage: [LocalStorage, {storage_path: /us}]
  eustorage: [LocalStorage, {storage_path: /eu}]
ENTREPOT_LOCATIONS:
  usstorage: {nodes: [127.0.0.1:7070]}
  eustorage: {nodes: [127.0.0.1:7071]}
`;

/** Loads `text`. */
export function load(text: string, role: Role = 'gateway', env: Environment = {}): Config {
  return withFile(text, file => loadConfig({ role, file, env }));
}

/** The mistakes in `text`, each as `key: message`; fails if it loads. */
export function mistakes(text: string, role: Role = 'gateway', env: Environment = {}): string[] {
  try {
    load(text, role, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ key, message }) => `${key}: ${message}`);
    throw error;
  }
  throw new Error('the configuration loads, but should not');
}
