/**
 * Who is at work on a location that takes a while: removing, verifying, adopting it. One at a time for each kind; one that
 * died is followed by the next when its lease has run out. The lease spares effort: what such work does is right also when
 * two are at it.
 */
import { randomUUID } from 'node:crypto';
import type { Database } from './database.js';

export type WorkKind = 'remove' | 'verify' | 'adopt';

/** How long somebody who is silent counts as being at work. */
export const WORK_LEASE_MS = 10_000;

/** The right to work on a location. */
export interface WorkLease {
  readonly location: string;
  readonly kind: WorkKind;
  readonly holder: string;
}

const UNTIL = `now() + ${WORK_LEASE_MS} * interval '1 millisecond'`;

export class LocationWork {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Undefined if somebody else is at it, or there is no such location. */
  async take(location: string, kind: WorkKind): Promise<WorkLease | undefined> {
    const holder = randomUUID();
    const rows = await this.#db.query(
      `insert into locationwork (location_id, kind, holder, lease_until)
       select id, $2, $3, ${UNTIL} from imagestoragelocation where name = $1
       on conflict (location_id, kind) do update set holder = excluded.holder, lease_until = excluded.lease_until
        where locationwork.lease_until < now() or locationwork.holder = excluded.holder
       returning holder`,
      [location, kind, holder],
      { repeatable: true },
    );
    return rows.length > 0 ? { location, kind, holder } : undefined;
  }

  /** False if the lease is lost. */
  async renew(lease: WorkLease): Promise<boolean> {
    const rows = await this.#db.query(
      `update locationwork w set lease_until = ${UNTIL} from imagestoragelocation l
        where l.name = $1 and w.location_id = l.id and w.kind = $2 and w.holder = $3 returning w.holder`,
      [lease.location, lease.kind, lease.holder],
      { repeatable: true },
    );
    return rows.length > 0;
  }

  /** Lets others be at it. */
  async end(lease: WorkLease): Promise<void> {
    await this.#db.query(
      `delete from locationwork w using imagestoragelocation l
        where l.name = $1 and w.location_id = l.id and w.kind = $2 and w.holder = $3`,
      [lease.location, lease.kind, lease.holder],
      { repeatable: true },
    );
  }
}
