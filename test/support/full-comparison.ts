/**
 * The database, compared as a whole: what must be where, what is there, and what is queued. Computed here from the tables
 * alone, without any of the views and functions that the registry itself goes by.
 */
import type pg from 'pg';

/** Where blobs must be, as the tables say it. */
interface Policy {
  readonly defaults: readonly number[];
  /** [namespace, location] */
  readonly regions: readonly (readonly [number, number])[];
  readonly replacing: readonly number[];
  readonly inactive: readonly number[];
}

/** All of it, at one moment. */
export interface Whole {
  readonly policy: Policy;
  /** [blob, namespace] */
  readonly members: readonly (readonly [number, number])[];
  /** [blob, location, verified] */
  readonly placements: readonly (readonly [number, number, boolean])[];
  /** [blob, location, since, rescue] */
  readonly queue: readonly (readonly [number, number, number, boolean])[];
  /** The numbers of the changes that are still to be queued. */
  readonly changes: readonly number[];
  readonly gap: boolean;
  /** What was in force after each change, and what was taken out of a namespace ([blob, namespace]), in order. */
  readonly policies: readonly Policy[];
  readonly unlinked: readonly (readonly [number, number])[];
  /** [location, blobs, unverified, missing], as they are kept. */
  readonly counts: readonly (readonly [number, number, number, number])[];
  /** What the registry says is open: of everything, and of each snapshot that was asked for. */
  readonly open: { readonly all: Said; readonly snapshots: readonly Said[] };
}
interface Said {
  readonly copies: number;
  readonly changes: number;
}

const POLICY = `jsonb_build_object(
  'defaults', (select coalesce(jsonb_agg(location_id), '[]') from defaultlocation),
  'regions', (select coalesce(jsonb_agg(jsonb_build_array(user_id, location_id)), '[]') from userregion),
  'replacing', (select coalesce(jsonb_agg(user_id), '[]') from namespaceregion where replaces_defaults),
  'inactive', (select coalesce(jsonb_agg(location_id), '[]') from locationstate where state <> 'active'))`;

const SAID = (upTo: string) =>
  `(select jsonb_build_object('copies', sum(blobs), 'changes', max(changes)) from open_copies(${upTo}, null))`;

/** Tables and triggers that only a test has: they note what was in force, and what was taken out. */
export const JOURNAL = `
  create table journal_policy (id bigserial primary key, policy jsonb not null);
  create table journal_unlinked (id bigserial primary key, blob_id bigint not null, user_id integer not null);
  create function journal_unlink() returns trigger language plpgsql as $$
  begin
    insert into journal_unlinked (blob_id, user_id)
      select old.blob_id, r.namespace_user_id from repository r where r.id = old.repository_id;
    return null;
  end $$;
  create trigger journal after delete on uploadedblob for each row execute function journal_unlink();
  create trigger journal after delete on manifestblob for each row execute function journal_unlink();`;

/** To be run in the transaction of a change. */
export const NOTE_POLICY = `insert into journal_policy (policy) select ${POLICY}`;

/** Everything at one moment; `snapshots`: the newest requirement of each. */
export async function wholeOf(client: pg.Client, snapshots: readonly number[]): Promise<Whole> {
  const { rows } = await client.query(
    `select jsonb_build_object(
       'policy', ${POLICY},
       'members', (select coalesce(jsonb_agg(distinct jsonb_build_array(m.blob_id, r.namespace_user_id)), '[]')
                     from (select blob_id, repository_id from uploadedblob union select blob_id, repository_id from manifestblob) m
                     join repository r on r.id = m.repository_id),
       'placements', (select coalesce(jsonb_agg(jsonb_build_array(storage_id, location_id, verified_at is not null)), '[]')
                        from imagestorageplacement),
       'queue', (select coalesce(jsonb_agg(jsonb_build_array(storage_id, location_id, since, rescue)), '[]') from replication),
       'changes', (select coalesce(jsonb_agg(since), '[]') from requeue),
       'gap', exists (select from replicationgap),
       'policies', (select coalesce(jsonb_agg(policy order by id), '[]') from journal_policy),
       'unlinked', (select coalesce(jsonb_agg(jsonb_build_array(blob_id, user_id) order by id), '[]') from journal_unlinked),
       'counts', (select jsonb_agg(jsonb_build_array(location_id, blobs, unverified, missing)) from locationsum),
       'open', jsonb_build_object('all', ${SAID('9223372036854775807')}, 'snapshots', (
         select coalesce(jsonb_agg(${SAID('s.newest')} order by s.n), '[]')
           from unnest($1::bigint[]) with ordinality s (newest, n)))) as whole`,
    [snapshots],
  );
  return rows[0].whole;
}

/** The locations where the blobs of a namespace must be. */
function required(policy: Policy, namespace: number): Set<number> {
  const own = policy.regions.filter(([user]) => user === namespace).map(([, location]) => location);
  const locations = policy.replacing.includes(namespace) ? own : [...policy.defaults, ...own];
  return new Set(locations.filter(location => !policy.inactive.includes(location)));
}

const key = (blob: number, location: number) => `blob ${blob} in location ${location}`;

/** The copies that are required at one moment. */
function allRequired({ members, policy }: Whole): Set<string> {
  return new Set(members.flatMap(([blob, user]) => [...required(policy, user)].map(location => key(blob, location))));
}

/** The copies that were required at the call, are now, and were all the time between, by the same namespace. */
function stillRequired(call: Whole, now: Whole): Set<string> {
  const unlinked = new Set(now.unlinked.slice(call.unlinked.length).map(([blob, user]) => `${blob} ${user}`));
  const policies = [call.policy, ...now.policies.slice(call.policies.length), now.policy];
  const members = new Set(now.members.map(([blob, user]) => `${blob} ${user}`));
  const found = new Set<string>();
  for (const [blob, user] of call.members) {
    const member = `${blob} ${user}`;
    if (unlinked.has(member) || !members.has(member)) continue;
    for (const location of required(call.policy, user)) {
      if (policies.every(policy => required(policy, user).has(location))) found.add(key(blob, location));
    }
  }
  return found;
}

/** The moment of a call of WatchReplication: what it keeps of it, and how everything was. */
export interface Call {
  readonly upTo: number;
  readonly whole: Whole;
}

/** What is wrong at a moment after these calls; in words. `now` knows of their snapshots. */
export function contradictions(calls: readonly Call[], now: Whole): string[] {
  return [...atOnce(now), ...calls.flatMap((call, n) => sinceCall(call, now, now.open.snapshots[n]))];
}

function verifiedCopies({ placements }: Whole): Set<string> {
  return new Set(placements.filter(([, , is]) => is).map(([blob, location]) => key(blob, location)));
}

/** What is wrong whatever was before. */
function atOnce(now: Whole): string[] {
  const wrong: string[] = [];
  const verified = verifiedCopies(now);
  const queued = now.queue.filter(([, , , rescue]) => !rescue);
  const all = new Set(queued.map(([blob, location]) => key(blob, location)));
  const { copies, changes } = now.open.all;
  for (const copy of allRequired(now)) {
    if (verified.has(copy)) continue;
    if (copies === 0 && changes === 0) wrong.push(`EMPTY says in sync, and lacks ${copy}`);
    if (!all.has(copy) && now.changes.length === 0 && !now.gap) wrong.push(`nobody knows that ${copy} is lacking`);
  }
  for (const [location, blobs, unverified, missing] of now.counts) {
    const here = now.placements.filter(each => each[1] === location);
    const lacking = queued.filter(each => each[1] === location);
    const counted = [here.length, here.filter(each => !each[2]).length, lacking.length];
    if ([blobs, unverified, missing].join() !== counted.join())
      wrong.push(`location ${location} is counted as ${[blobs, unverified, missing]}, and has ${counted}`);
  }
  return wrong;
}

/** What is wrong about what a call waits for. */
function sinceCall({ upTo, whole }: Call, now: Whole, said: Said | undefined): string[] {
  const wrong: string[] = [];
  const verified = verifiedCopies(now);
  const waitedFor = new Set(
    now.queue.filter(([, , since, rescue]) => since <= upTo && !rescue).map(([blob, location]) => key(blob, location)),
  );
  const isOpen = now.gap || now.changes.some(since => since <= upTo);
  for (const copy of stillRequired(whole, now)) {
    if (verified.has(copy)) continue;
    if (said?.copies === 0 && said.changes === 0) wrong.push(`SNAPSHOT says in sync, and lacks ${copy}`);
    if (!waitedFor.has(copy) && !isOpen) wrong.push(`a snapshot up to ${upTo} does not wait for ${copy}`);
  }
  return wrong;
}
