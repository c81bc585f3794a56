/** `entrepot migrate`: brings the database to this release's schema. */
import { loadConfig } from '../../lib/config/load.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { CONFIG_OPTION, type Command, textOf } from '../command.js';

export const migrate: Command = {
  name: 'migrate',
  summary: "Bring the database to this release's schema.",
  description: [
    'Run it before the processes of a new release are started; until then they wait. It is safe beside a',
    'running release, and when several run it at the same time. A second run finds nothing to do.',
    'Exit status: 0 the schema is that of this release, 1 it is not, 2 the command was called wrongly.',
  ].join('\n'),
  options: CONFIG_OPTION,
  async run(given) {
    const config = loadConfig({
      role: 'cli',
      file: textOf(given, 'config'),
      env: process.env,
    });
    // The cli always has a database; the type says so for all roles together.
    if (!config.database) throw new Error('DB_URI is missing');
    // Only now: no other command is to wait for it.
    const { migrate: migrateDatabase } = await import('../../lib/metadata/migrate.js');
    await migrateDatabase(config.database.url, createLogger({ name: 'migrate', level: config.logLevel }));
    return 0;
  },
};
