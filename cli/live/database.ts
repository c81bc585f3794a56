/** Whether the database answers, and has this release's schema. */
import type { DatabaseConfig } from '../../lib/config/config.js';
import { canListen, type DatabaseState, inspectDatabase } from '../../lib/metadata/inspect.js';
import { reasonOf } from '../output/reason.js';
import { bad, type Finding, good } from './finding.js';

export interface DatabaseLook {
  readonly findings: readonly Finding[];
  /** Undefined if it cannot be asked. */
  readonly state: DatabaseState | undefined;
}

export async function lookAtDatabase({ url, listenUrl }: DatabaseConfig): Promise<DatabaseLook> {
  const [main, listen] = await Promise.all([lookAtMain(url), lookAtListen(listenUrl)]);
  // Where both are the same, one failure is enough to read.
  const both = main.state || listenUrl !== url ? [main.finding, listen] : [main.finding];
  return { findings: both, state: main.state };
}

async function lookAtMain(url: string): Promise<{ finding: Finding; state: DatabaseState | undefined }> {
  try {
    const state = await inspectDatabase(url);
    const { version, missing } = state;
    const finding =
      missing.length === 0
        ? good('database', `PostgreSQL ${version}, with the schema of this release`)
        : bad('database', 'DB_URI', `${missing.join(', ')} not there yet: run "entrepot migrate"`);
    return { finding, state };
  } catch (error) {
    return { finding: bad('database', 'DB_URI', reasonOf(error)), state: undefined };
  }
}

const LISTEN_KEY = 'ENTREPOT_DB_LISTEN_URI';

async function lookAtListen(url: string): Promise<Finding> {
  try {
    if (await canListen(url)) return good('LISTEN', 'notifications arrive');
    const message =
      'notifications do not arrive, as through a pooler that shares sessions: name PostgreSQL itself, beside DB_URI';
    return bad('LISTEN', LISTEN_KEY, message);
  } catch (error) {
    return bad('LISTEN', LISTEN_KEY, reasonOf(error));
  }
}
