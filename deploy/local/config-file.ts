/** The `config.yaml` of the local stack: the shape of a real one, shared by all its processes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { DataFolder } from './data-folder.js';
import { type Ports, regions } from './topology.js';

const header = `# Written by "npm start" at every start: changes made here are lost.
# What differs between the processes (region, listener) is in their environment.
`;

/** Writes the file. It holds the database's password, so only its owner may read it. */
export function writeConfig(folder: DataFolder, ports: Ports, databaseUrl: string): void {
  const each = <T>(value: (region: (typeof regions)[number]) => T) =>
    Object.fromEntries(regions.map(region => [region.location, value(region)]));
  const names = regions.map(region => region.location);
  const config = {
    DB_URI: databaseUrl,
    DISTRIBUTED_STORAGE_CONFIG: each(region => [
      'LocalStorage',
      { storage_path: join(folder.storage, region.location) },
    ]),
    DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: names,
    DISTRIBUTED_STORAGE_PREFERENCE: names,
    FEATURE_STORAGE_REPLICATION: true,
    ENTREPOT_LOCATIONS: each(region => ({ nodes: [`127.0.0.1:${ports[`storage-proxy-${region.name}`]}`] })),
    ENTREPOT_ADMIN_SERVERS: regions.map(region => `127.0.0.1:${ports[`worker-${region.name}`]}`),
    ENTREPOT_ANONYMOUS_ACCESS: 'push',
  };
  writeFileSync(folder.config, header + stringify(config, { aliasDuplicateObjects: false }), { mode: 0o600 });
}
