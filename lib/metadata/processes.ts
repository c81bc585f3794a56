/** The processes that have a database, gateways and workers: which ones live, and how they were configured. */
import type { Config } from '../config/config.js';
import { fingerprint } from '../config/fingerprint.js';
import { asSize } from '../oci/size.js';
import type { Database } from './database.js';
import { asMode, MODE_COLUMNS, type Mode } from './mode.js';
import { asText } from './row.js';

/** How long a process counts as living after it was last heard of. */
const PROCESS_LEASE_MS = 15_000;

/** What a process says of itself. */
export interface ProcessRow {
  /** A UUID, new for each process. */
  readonly id: string;
  readonly role: 'gateway' | 'worker';
  /** Where it listens, `host:port`, as it knows that itself. */
  readonly address: string;
  /** Its software version. */
  readonly version: string;
  /** Of what all processes should have in common (lib/config/fingerprint.ts). */
  readonly configHash: string;
  /** The locations that its configuration has. */
  readonly locations: readonly string[];
  /** Those where it says that every blob must be. */
  readonly defaults: readonly string[];
}

/** What a process says of itself: its place, and how it was configured. */
export function processRow(config: Config, self: Pick<ProcessRow, 'id' | 'role' | 'address' | 'version'>): ProcessRow {
  return {
    ...self,
    configHash: fingerprint(config),
    locations: config.locations.map(location => location.name),
    defaults: config.defaultLocations,
  };
}

/** A process that lives. */
export interface LivingProcess {
  readonly role: string;
  readonly address: string;
  readonly version: string;
  readonly configHash: string;
  /** Milliseconds since 1970, by the database's clock. */
  readonly startedAt: number;
}

export class Processes {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Says that a process lives; answers what the registry takes now. One round trip. */
  async announce(self: ProcessRow): Promise<Mode> {
    const [row] = await this.#db.query(
      `with said as (
         insert into process (id, role, address, version, config_hash, locations, defaults, lease_until)
         values ($1, $2, $3, $4, $5, $6, $7, now() + $8 * interval '1 millisecond')
         on conflict (id) do update set lease_until = excluded.lease_until)
       select ${MODE_COLUMNS} from (select) here left join registrymode m on true`,
      [
        ...[self.id, self.role, self.address, self.version, self.configHash, self.locations, self.defaults],
        PROCESS_LEASE_MS,
      ],
      { repeatable: true },
    );
    return asMode(row);
  }

  /** Says that a process ends. Forgets those that have been dead for an hour. */
  async leave(id: string): Promise<void> {
    await this.#db.query(`delete from process where id = $1 or lease_until < now() - interval '1 hour'`, [id], {
      repeatable: true,
    });
  }

  /** The processes that live, gateways first, in the order of their addresses. */
  async living(): Promise<LivingProcess[]> {
    const rows = await this.#db.query(
      `select role, address, version, config_hash, floor(extract(epoch from started_at) * 1000)::bigint as started_at
         from living_process order by role, address, started_at`,
      [],
      { repeatable: true },
    );
    return rows.map(row => ({
      role: asText(row, 'role'),
      address: asText(row, 'address'),
      version: asText(row, 'version'),
      configHash: asText(row, 'config_hash'),
      startedAt: asSize(row.started_at),
    }));
  }
}
