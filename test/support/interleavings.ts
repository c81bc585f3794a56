/**
 * Random interleavings of everything that changes what must be copied, in transactions that stay open for a while: pushes,
 * mounts, manifests, deletes, changes of policy, locations that drain, damage, copies, backfills. A watcher calls at a random
 * moment, and at every moment after that what it is told is held against a full comparison.
 *
 * What is done, by whom and with which pauses follows from the seed. How PostgreSQL interleaves it does not: a run that
 * failed may have to be repeated a few times.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { digestOf } from '../../lib/oci/digest.js';
import { type Chance, chanceOf, oneOf } from './chance.js';
import type { Metadata } from './clients.js';
import { type Call, contradictions, JOURNAL, NOTE_POLICY, wholeOf } from './full-comparison.js';
import { emptied, imageOf, putIn, repository } from './rows.js';
import { atEnd } from './suite.js';

const LOCATIONS = ['usstorage', 'eustorage', 'apstorage'] as const;
const NAMESPACES = ['one', 'two', 'three'] as const;
const BLOBS = 3;
const ACTORS = 5;
const CALLS = 8;
const STEPS = 7;
const LONGEST_PAUSE_MS = 4;

/** A connection, and what it does: one random step after the other. */
interface Actor {
  readonly client: pg.Client;
  readonly chance: Chance;
  readonly log: string[];
}

/** Runs `runs` of them. Throws, naming the run, at the first contradiction. */
export async function interleave(
  m: Metadata,
  { runs, seed }: { runs: number; seed: string },
): Promise<{ moments: number; inSync: number }> {
  await m.db.query(JOURNAL);
  const clients = await Promise.all(Array.from({ length: ACTORS + 1 }, () => connected(m)));
  const seen = { moments: 0, inSync: 0 };
  for (let run = 0; run < runs; run++) {
    const name = `${seed}/${run}`;
    const log: string[] = [];
    try {
      await oneRun(m, clients, name, log, seen);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`run ${name} (again: ENTREPOT_TEST_SEED=${name}): ${message}\n${log.join('\n')}`, {
        cause: error,
      });
    }
    if ((run + 1) % 100 === 0) process.stdout.write(`   ${run + 1} of ${runs} runs\n`);
  }
  return seen;
}

async function connected(m: Metadata): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: m.url });
  await client.connect();
  // A deadlock is an end like any other here; it need not take a second to be found.
  await client.query(`set deadlock_timeout = '20ms'`);
  atEnd(() => client.end());
  return client;
}

async function oneRun(
  m: Metadata,
  clients: pg.Client[],
  name: string,
  log: string[],
  seen: { moments: number; inSync: number },
) {
  await emptied(m);
  await m.db.query('truncate journal_policy, journal_unlinked');
  const [watcher, ...others] = clients;
  if (!watcher) throw new Error('no connection');
  const actors = others.map((client, n) => ({ client, log, chance: chanceOf(`${name}/${n}`) }));
  const chance = chanceOf(name);
  for (let n = 0; n < 4; n++) await push({ client: watcher, chance, log });
  let ended = false;
  const acting = Promise.all(actors.map(actor => act(actor))).finally(() => {
    ended = true;
  });
  const calls: Call[] = [];
  while (!ended) {
    if (calls.length < CALLS && chance() < 0.5) {
      const call = await callOf(watcher);
      log.push(`a watcher calls: up to ${call.upTo}`);
      calls.push(call);
    }
    await check(watcher, calls, seen);
    await sleep(chance() * LONGEST_PAUSE_MS);
  }
  await acting;
  const last = { client: watcher, chance, log };
  await allQueued(m, watcher);
  await check(watcher, calls, seen);
  await allCopied(m, last);
  await check(watcher, calls, seen);
  const [left] = (
    await watcher.query(
      'select sum(blobs)::int as copies, max(changes)::int as changes from open_copies(9223372036854775807, null)',
    )
  ).rows;
  if (left.copies + left.changes > 0) throw new Error(`all is done, and it says ${JSON.stringify(left)}`);
}

/** What WatchReplication keeps of the moment of its call; the number first, as it does. */
async function callOf(client: pg.Client): Promise<Call> {
  await client.query('begin isolation level repeatable read');
  const { rows } = await client.query('select newest_requirement() as newest');
  const upTo = Number(rows[0].newest);
  const whole = await wholeOf(client, []);
  await client.query('commit');
  return { upTo, whole };
}

async function check(
  client: pg.Client,
  calls: readonly Call[],
  seen: { moments: number; inSync: number },
): Promise<void> {
  const now = await wholeOf(
    client,
    calls.map(call => call.upTo),
  );
  seen.moments++;
  seen.inSync += now.open.snapshots.filter(({ copies, changes }) => copies === 0 && changes === 0).length;
  const wrong = contradictions(calls, now);
  if (wrong.length > 0) throw new Error(`${wrong.join('\n')}\n${JSON.stringify(now)}`);
}

async function act(actor: Actor): Promise<void> {
  const { client, chance, log } = actor;
  for (let step = 0; step < STEPS; step++) {
    const does = oneOf(chance, ACTIONS);
    const what = does.name;
    await sleep(chance() * LONGEST_PAUSE_MS);
    try {
      await client.query('begin');
      const said = await does(actor);
      await sleep(chance() * LONGEST_PAUSE_MS);
      await client.query(chance() < 0.9 ? 'commit' : 'rollback');
      log.push(`${what} ${said ?? ''}`);
    } catch (error) {
      await client.query('rollback');
      // Two that waited for each other, or a location that is being removed.
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code !== '40P01' && code !== 'EN001') throw error;
      log.push(`${what}: ${code}`);
    }
  }
}

type Action = (actor: Actor) => Promise<string | undefined>;

const digests = Array.from({ length: BLOBS }, (_, n) => digestOf(Buffer.from(`interleaved ${n}`)));
const digest = ({ chance }: Actor) => oneOf(chance, digests);
const namespace = ({ chance }: Actor) => oneOf(chance, NAMESPACES);
const some = (chance: Chance) => LOCATIONS.filter(() => chance() < 0.6);

async function push(actor: Actor) {
  const [to, blob, location, replicate] = [
    namespace(actor),
    digest(actor),
    oneOf(actor.chance, LOCATIONS),
    actor.chance() < 0.95,
  ];
  await actor.client.query(`select store_blob(repository_id($1, 'app'), $2, 7, $3, $4, '')`, [
    to,
    blob,
    location,
    replicate,
  ]);
  return `${blob} to ${to} at ${location}${replicate ? '' : ', without replication'}`;
}
async function mount(actor: Actor) {
  const [to, blob] = [namespace(actor), digest(actor)];
  await actor.client.query(`select mount_blob_from($1, 'app', $2, '{}', '{""}', true, '')`, [to, blob]);
  return `${blob} to ${to}`;
}
async function putManifest(actor: Actor) {
  const [to, blob] = [namespace(actor), digest(actor)];
  await putIn(actor.client, repository(`${to}/app`), imageOf([blob]), 'v1');
  return `${blob} in ${to}`;
}
async function deleteManifests(actor: Actor) {
  const from = namespace(actor);
  await actor.client.query(
    `delete from manifest where id in (select m.id from manifest m join repository r on r.id = m.repository_id
       join "user" u on u.id = r.namespace_user_id where u.username = $1 order by m.id limit 2)`,
    [from],
  );
  return from;
}
async function unlink(actor: Actor) {
  const [from, blob] = [namespace(actor), digest(actor)];
  await actor.client.query(
    `delete from uploadedblob ub using repository r, "user" u, imagestorage s
      where r.id = ub.repository_id and u.id = r.namespace_user_id and s.id = ub.blob_id
        and u.username = $1 and s.content_checksum = $2`,
    [from, blob],
  );
  return `${blob} from ${from}`;
}
async function changeNamespace(actor: Actor) {
  const [of, to] = [namespace(actor), some(actor.chance)];
  const replace = to.length > 0 && actor.chance() < 0.5;
  await actor.client.query('select set_namespace_locations($1, $2, $3, true)', [of, to, replace]);
  await actor.client.query(NOTE_POLICY);
  return `${of}: ${to.join()}${replace ? ' only' : ''}`;
}
async function changeDefaults(actor: Actor) {
  const to = [...some(actor.chance), 'usstorage'];
  await actor.client.query('select hold_requirements(true)');
  await actor.client.query('select set_default_locations($1, true)', [to]);
  await actor.client.query(NOTE_POLICY);
  return to.join();
}
/** As a removal that begins, or is given up. */
async function drain(actor: Actor) {
  const [location, state] = [oneOf(actor.chance, LOCATIONS), actor.chance() < 0.4 ? 'draining' : 'active'];
  await actor.client.query('select hold_requirements(true)');
  await actor.client.query(
    'update locationstate set state = $2 where location_id = (select id from imagestoragelocation where name = $1)',
    [location, state],
  );
  await actor.client.query('insert into requeue default values');
  await actor.client.query(NOTE_POLICY);
  return `${location}: ${state}`;
}
async function requeue(actor: Actor) {
  await actor.client.query('select requeue_some($1)', [1 + Math.floor(actor.chance() * BLOBS)]);
  return '';
}
async function closeGap(actor: Actor) {
  await actor.client.query('select close_replication_gap()');
  return '';
}
async function distrust(actor: Actor) {
  const [blob, at] = [digest(actor), oneOf(actor.chance, LOCATIONS)];
  await actor.client.query('select distrust_placement($1, $2, $3)', [blob, at, 'damaged']);
  return `${blob} at ${at}`;
}
/** Claims, and ends what it claimed, in two transactions, as a worker. */
async function copy(actor: Actor) {
  const { rows } = await actor.client.query(
    `update replication set lease_token = gen_random_uuid(), next_attempt_at = now() + interval '15 seconds'
      where id in (select id from replication where lease_token is null or next_attempt_at < now()
                    order by id limit 3 for update skip locked)
     returning id, lease_token, storage_id, location_id`,
  );
  await actor.client.query('commit');
  await sleep(actor.chance() * LONGEST_PAUSE_MS);
  await actor.client.query('begin');
  await actor.client.query('select complete_replication($1, $2)', [
    rows.map(row => row.id),
    rows.map(row => row.lease_token),
  ]);
  return rows.map(row => `${row.storage_id} to ${row.location_id}`).join();
}
async function backfill(actor: Actor) {
  await actor.client.query('select backfill_some($1, 3, null, null, false, false)', [0]);
  return '';
}
async function fold(actor: Actor) {
  await actor.client.query('select fold_counts(10)');
  return '';
}
const ACTIONS: readonly Action[] = [
  ...[push, push, push, mount, mount, putManifest, deleteManifests, unlink],
  ...[changeNamespace, changeNamespace, changeDefaults, drain, requeue, requeue, requeue, requeue, closeGap],
  ...[distrust, distrust, copy, copy, copy, backfill, fold],
];

/** What the changes left to be queued is queued. */
async function allQueued(m: Metadata, client: pg.Client): Promise<void> {
  await client.query('begin');
  await client.query('select hold_requirements(true)');
  await client.query(`update locationstate set state = 'active'`);
  await client.query('insert into requeue default values');
  await client.query(NOTE_POLICY);
  await client.query('commit');
  await m.requeue.closeGap();
  while (await m.requeue.some()) {}
}

/** What is queued is copied. */
async function allCopied(m: Metadata, actor: Actor): Promise<void> {
  await m.db.query('update replication set lease_token = null');
  while ((await m.db.query('select from replication limit 1')).length > 0) {
    await actor.client.query('begin');
    await copy(actor);
    await actor.client.query('commit');
  }
}
