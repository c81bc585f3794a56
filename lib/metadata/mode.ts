/** What the registry takes: kept in the database, so that it can be changed while everything runs. */
import type { Config } from '../config/config.js';
import type { Database, Row } from './database.js';
import { asText } from './row.js';

/** What the registry takes. */
export interface Mode {
  /** Nothing is changed: no pushes, no deletes. */
  readonly readOnly: boolean;
  /** No pushes; deletes work. */
  readonly pushesDisabled: boolean;
  /** Shown to clients that are refused. */
  readonly reason: string;
}

/** The columns of registrymode `m`, of which there may be no row. */
export const MODE_COLUMNS = 'm.read_only, m.pushes_disabled, m.reason';

export function asMode(row: Row | undefined): Mode {
  return {
    readOnly: row?.read_only === true,
    pushesDisabled: row?.pushes_disabled === true,
    reason: row === undefined || row.reason === null ? '' : asText(row, 'reason'),
  };
}

/** What a process's configuration says (REGISTRY_STATE, DISABLE_PUSHES). */
export function configuredMode({ readOnly, pushesDisabled }: Pick<Config, 'readOnly' | 'pushesDisabled'>): Mode {
  const reason = readOnly ? 'REGISTRY_STATE is readonly' : pushesDisabled ? 'DISABLE_PUSHES is true' : '';
  return { readOnly, pushesDisabled, reason };
}

/** What is in force in a process: what is on record, and what its configuration says. */
export function inForce(recorded: Mode, configured: Mode): Mode {
  return {
    readOnly: recorded.readOnly || configured.readOnly,
    pushesDisabled: recorded.pushesDisabled || configured.pushesDisabled,
    reason: recorded.reason || configured.reason,
  };
}

export class Modes {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Puts a mode on record; every process hears of it within seconds (presence.ts). */
  async set({ readOnly, pushesDisabled, reason }: Mode): Promise<void> {
    await this.#db.query(
      `insert into registrymode (read_only, pushes_disabled, reason) values ($1, $2, $3)
       on conflict (singleton) do update set read_only = excluded.read_only, pushes_disabled = excluded.pushes_disabled,
         reason = excluded.reason, changed_at = now()`,
      [readOnly, pushesDisabled, reason],
      { repeatable: true },
    );
  }

  /** The mode on record. */
  async get(): Promise<Mode> {
    const [row] = await this.#db.query(`select ${MODE_COLUMNS} from registrymode m`, [], { repeatable: true });
    return asMode(row);
  }
}
