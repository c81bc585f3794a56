/** Removing a location: the steps of it, each a transaction of its own (functions/17_removal.sql). */
import type { Digest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { Database, Row } from './database.js';
import { asBytes, asDigestValue, asText, asTexts, optional } from './row.js';

/** Whether a location is in use; `removed`: its name is all that is left of it. */
export type LocationState = 'active' | 'draining' | 'removing' | 'removed';

/** What stands against removing a location, whatever can be copied away. */
export interface Obstacles {
  /** It is the only one. */
  readonly isOnly: boolean;
  /** The living processes that have it among their default locations, each as its role and address. */
  readonly processes: readonly string[];
  /** Namespaces that may be written nowhere else, the first 20. */
  readonly namespaces: readonly string[];
  /** It holds what was adopted. */
  readonly adopted: boolean;
}

/** What is in a location. */
export interface Contents {
  readonly placements: number;
  readonly uploads: number;
}

/** One look at a part of a location's blobs. */
export interface OnlyCopies {
  /** Where it stopped; undefined at the end. */
  readonly last: string | undefined;
  /** The ids of blobs that somebody refers to and that no location that stays has, verified. */
  readonly blobs: readonly string[];
}

/** How the copies of some blobs are getting on. */
export interface RescueState {
  /** Those of them that are still only there. */
  readonly blobs: readonly string[];
  /** Bytes of them that have arrived elsewhere; grows while copies are made. */
  readonly bytesDone: number;
}

/** A blob that could not be copied away. */
export interface StuckBlob {
  readonly digest: Digest;
  /** What its last try failed with, or why there is none. */
  readonly reason: string | undefined;
}

/** An image that needs a blob. */
export interface ImageWithBlob {
  readonly repository: string;
  /** Empty if no tag leads to it. */
  readonly tag: string;
  readonly manifest: string;
  readonly digest: string;
}

/** What one step of the deletion did. */
export interface DeletedPlacements {
  /** False: the removal was given up meanwhile, and nothing is deleted any more. */
  readonly closed: boolean;
  /** Where it stopped; undefined at the end. */
  readonly last: string | undefined;
  readonly ids: readonly number[];
  readonly digests: readonly string[];
  /** Records that must stay: no other location has those blobs. */
  readonly kept: number;
}

export type FinishOutcome = 'deleted' | 'not empty' | 'in use' | 'obstacles';

/** An upload that was ended, and what its location needs to free its bytes. */
export interface EndedUpload {
  readonly uuid: string;
  readonly session: Buffer;
}

/** Pushes and copies wait for what is done to these, so it must be short. */
const BATCH = 500;
const LEAVE_BATCH = 5_000;

export class Removal {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Undefined if there is no such location, and never was. */
  async state(location: string): Promise<LocationState | undefined> {
    const [row] = await this.#db.query(
      `select coalesce(s.state, 'active') as state
         from imagestoragelocation l left join locationstate s on s.location_id = l.id where l.name = $1
       union all select 'removed' from removedlocation where name = $1`,
      [location],
      { repeatable: true },
    );
    return row && asState(asText(row, 'state'));
  }

  /** With `force`, what was adopted does not stand against it. */
  async obstacles(location: string, force = false): Promise<Obstacles> {
    const [row] = await this.#db.query('select * from removal_obstacles($1)', [location], { repeatable: true });
    const obstacles = asObstacles(row);
    return { ...obstacles, adopted: obstacles.adopted && !force };
  }

  async contents(location: string): Promise<Contents> {
    const [row] = await this.#db.query(
      `select c.blobs, (select count(*) from blobupload where location_id = l.id) as uploads
         from imagestoragelocation l join locationsum c on c.location_id = l.id where l.name = $1`,
      [location],
      { repeatable: true },
    );
    return { placements: asSize(row?.blobs ?? 0), uploads: asSize(row?.uploads ?? 0) };
  }

  /** Takes the location out of use, or on to where its records are deleted. Answers what stood against it, if anything did. */
  async advance(location: string, state: 'draining' | 'removing', force = false): Promise<Obstacles | undefined> {
    const [row] = await this.#db.query('select * from advance_removal($1, $2, $3)', [location, state, force], {
      repeatable: true,
    });
    while (row?.moved === true) {
      const [left] = await this.#db.query('select leave_queue($1, $2) as more', [location, LEAVE_BATCH]);
      if (left?.more !== true) return undefined;
    }
    return asObstacles(row);
  }

  /** Puts the location into use again. False if it was. */
  async giveUp(location: string, replicate: boolean): Promise<boolean> {
    const [row] = await this.#db.query('select give_up_removal($1, $2) as done', [location, replicate]);
    return row?.done === true;
  }

  /**
   * Looks for blobs that are only there, from after blob `after` on; with `rescueTo`, has them copied to the first of those
   * locations (or another one) where they may be.
   */
  async lookForOnlyCopies(location: string, after: string, rescueTo?: readonly string[]): Promise<OnlyCopies> {
    const [row] = await this.#db.query(
      'select last, blobs::text[] from look_for_only_copies($1, $2, $3, $4, $5)',
      [location, after, BATCH, rescueTo !== undefined, rescueTo ?? []],
      { repeatable: true },
    );
    return { last: row && optional(row, 'last', asText), blobs: row ? asTexts(row, 'blobs') : [] };
  }

  /** How the copies of these blobs are getting on. */
  async rescueState(location: string, blobs: readonly string[]): Promise<RescueState> {
    const [row] = await this.#db.query(
      `select only_copies(id, $2)::text[] as blobs,
              (select coalesce(sum(bytes_done), 0)::bigint from replication where storage_id = any ($2)) as done
         from imagestoragelocation where name = $1`,
      [location, blobs],
      { repeatable: true },
    );
    return { blobs: row ? asTexts(row, 'blobs') : [], bytesDone: asSize(row?.done ?? 0) };
  }

  /** Why these blobs are not elsewhere yet. */
  async stuck(location: string, blobs: readonly string[]): Promise<StuckBlob[]> {
    const rows = await this.#db.query(
      `select s.content_checksum,
              (select case when a.paused then 'copying to ' || a.name || ' is paused' else r.last_error end
                 from replication r join activelocation a on a.id = r.location_id
                where r.storage_id = s.id and a.name <> $1 order by r.last_error is null, a.name limit 1) as reason
         from imagestorage s where s.id = any ($2) order by s.content_checksum`,
      [location, blobs],
      { repeatable: true },
    );
    return rows.map(row => ({
      digest: asDigestValue(row, 'content_checksum'),
      reason: optional(row, 'reason', asText),
    }));
  }

  /** Whether some living worker has the location in its configuration: nobody else could copy from it. */
  async isKnownToWorkers(location: string): Promise<boolean> {
    const [row] = await this.#db.query(
      'select exists (select from living_worker where $1 = any (knows)) as known',
      [location],
      { repeatable: true },
    );
    return row?.known === true;
  }

  /** Those of these blobs that no other location has at all. */
  async nowhereElse(location: string, blobs: readonly string[]): Promise<string[]> {
    const [row] = await this.#db.query(
      `select array(
         select b::text from unnest($2::bigint[]) b
          where not exists (select from imagestorageplacement p join imagestoragelocation l on l.id = p.location_id
                             where p.storage_id = b and l.name <> $1)) as blobs`,
      [location, blobs],
      { repeatable: true },
    );
    return row ? asTexts(row, 'blobs') : [];
  }

  /** The images that need these blobs, a page at a time. */
  async *imagesWith(blobs: readonly string[]): AsyncGenerator<ImageWithBlob> {
    for (let after = '0'; ; ) {
      const rows = await this.#db.query('select * from images_with_blobs($1, $2, $3)', [blobs, after, BATCH], {
        repeatable: true,
      });
      for (const row of rows) {
        after = asText(row, 'id');
        yield {
          repository: asText(row, 'repository'),
          tag: asText(row, 'tag'),
          manifest: asText(row, 'manifest'),
          digest: asText(row, 'digest'),
        };
      }
      if (rows.length === 0) return;
    }
  }

  /**
   * Ends up to `limit` unfinished uploads at the location: those that nobody writes to and nobody has written to for
   * `idleMs`; all of them if that is undefined. Answers what they were.
   */
  async endUploads(location: string, idleMs: number | undefined, limit: number): Promise<EndedUpload[]> {
    const rows = await this.#db.query(
      `delete from blobupload where id in (
         select b.id from blobupload b join imagestoragelocation l on l.id = b.location_id
          where l.name = $1
            and ($2::bigint is null or ((b.lease_until is null or b.lease_until < now())
                                         and b.updated_at < now() - $2 * interval '1 millisecond'))
          order by b.id limit $3 for update of b skip locked)
       returning uuid, session`,
      [location, idleMs ?? null, limit],
    );
    return rows.map(row => ({ uuid: asText(row, 'uuid'), session: asBytes(row, 'session') }));
  }

  /** Deletes records of the location, from after blob `after` on. With `force`, also the last one of a blob. */
  async deletePlacements(location: string, after: string, force: boolean): Promise<DeletedPlacements> {
    const [row] = await this.#db.query(
      'select closed, last, deleted::text[], digests, kept from delete_placements($1, $2, $3, $4)',
      [location, after, BATCH, force],
    );
    if (!row) throw new TypeError('the database answered nothing');
    return {
      closed: row.closed === true,
      last: optional(row, 'last', asText),
      ids: asTexts(row, 'deleted').map(Number),
      digests: asTexts(row, 'digests'),
      kept: asSize(row.kept),
    };
  }

  /** Deletes the location itself, if nothing is recorded there any more, and keeps its name as removed. */
  async finish(location: string): Promise<{ outcome: FinishOutcome; obstacles: Obstacles }> {
    const [row] = await this.#db.query('select * from finish_removal($1)', [location]);
    return { outcome: asOutcome(row?.outcome), obstacles: asObstacles(row) };
  }
}

function asState(text: string): LocationState {
  if (text === 'active' || text === 'draining' || text === 'removing' || text === 'removed') return text;
  throw new TypeError('the database answered an unknown state of a location');
}

function asOutcome(value: unknown): FinishOutcome {
  if (value === 'deleted' || value === 'not empty' || value === 'in use' || value === 'obstacles') return value;
  throw new TypeError('the database answered an unknown outcome of a removal');
}

function asObstacles(row: Row | undefined): Obstacles {
  if (!row) throw new TypeError('the database answered nothing');
  return {
    isOnly: row.is_only === true,
    processes: asTexts(row, 'processes'),
    namespaces: asTexts(row, 'namespaces'),
    adopted: row.adopted === true,
  };
}
