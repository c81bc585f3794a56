/** WatchReplication: says "in sync" when it is so, at once, and never before. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Database } from '../../lib/metadata/database.js';
import { hasReason } from '../../lib/rpc/errors.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { WatchReplicationRequest } from '../../proto/generated/entrepot/admin/v1/WatchReplicationRequest.js';
import type { WatchReplicationResponse__Output } from '../../proto/generated/entrepot/admin/v1/WatchReplicationResponse.js';
import { read, startAdmin } from '../support/admin.js';
import { freshMetadata, type Metadata, openMetadata, quiet, twoRegions } from '../support/clients.js';
import { copied, emptied, namespaceOf, newDigest, newRepository, pushed, requeued, session } from '../support/rows.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: watching replication');
let m: Metadata;
let admin: AdminClient;

test.before(async () => {
  m = await freshMetadata();
  await m.places.register(['apstorage']);
  admin = await startAdmin(m);
});
test.before.each(() => emptied(m));

/** Watches beside the test; `messages` grows. */
function watch(request: WatchReplicationRequest = {}, client = admin) {
  const messages: WatchReplicationResponse__Output[] = [];
  const stream = client.WatchReplication({ intervalMs: 100, ...request });
  atEnd(() => stream.cancel());
  const watching = {
    messages,
    /** It ended in order. */
    ended: false,
    failure: undefined as unknown,
    over: Promise.resolve(),
    cancel: () => stream.cancel(),
    open: (location: string) => messages.at(-1)?.locations.find(each => each.location === location)?.blobs,
  };
  const follow = async () => {
    for await (const message of readMessages<WatchReplicationResponse__Output>(stream)) messages.push(message);
    watching.ended = true;
  };
  watching.over = follow().catch(error => {
    watching.failure = error;
  });
  return watching;
}
const aWhile = () => sleep(250);

/** Waits until a watcher shows this, and a little longer: it must stay so. */
async function eventually(shown: () => unknown, expected: unknown): Promise<void> {
  await until(() => JSON.stringify(shown()) === JSON.stringify(expected), 20_000);
  await aWhile();
  assert.equal(shown(), expected);
}

test('in sync: one message that says so, also in an empty registry', async () => {
  for (const goal of ['WATCH_GOAL_SNAPSHOT', 'WATCH_GOAL_EMPTY'] as const) {
    const messages = await read<WatchReplicationResponse__Output>(admin.WatchReplication({ goal }));
    assert.equal(
      messages.map(each => [each.inSync, each.openChanges, each.locations.length]),
      [[true, 0, 3]],
    );
  }
});

test('a snapshot waits for what was pushed before it, not for what is pushed after it', async () => {
  const [one, two] = [await pushed(m, newRepository()), await pushed(m, newRepository())];
  const watching = watch();
  await eventually(() => [watching.open('eustorage'), watching.open('usstorage')], [2, 0]);
  await pushed(m, newRepository());
  await copied(m, 'eustorage', [one]);
  await eventually(() => [watching.open('eustorage'), watching.ended], [1, false]);
  assert.ok((watching.messages.at(-1)?.locations[1]?.oldestMissingMs ?? 0) > 0);
  await copied(m, 'eustorage', [two]);
  await watching.over;
  assert.equal(watching.messages.map(each => each.inSync).filter(Boolean), [true]);
  assert.is(watching.messages.at(-1)?.inSync, true);
});

test('"empty" waits for everything, also for what comes meanwhile', async () => {
  await pushed(m, newRepository());
  const watching = watch({ goal: 'WATCH_GOAL_EMPTY' });
  await aWhile();
  const later = await pushed(m, newRepository());
  const jobs = await m.db.query('select storage_id from replication order by id limit 1');
  assert.is(jobs.length, 1);
  await m.db.query(
    `with gone as (delete from replication where storage_id = $1 returning storage_id, location_id)
     insert into imagestorageplacement (storage_id, location_id, verified_at) select *, now() from gone`,
    [jobs[0]?.storage_id],
  );
  await eventually(() => [watching.open('eustorage'), watching.ended], [1, false]);
  await copied(m, 'eustorage', [later]);
  await watching.over;
  assert.ok(watching.ended);
});

test('for one location', async () => {
  await pushed(m, newRepository(), 'usstorage');
  const watching = watch({ location: 'usstorage' });
  await watching.over;
  assert.ok(watching.ended);
  const other = watch({ location: 'eustorage' });
  await eventually(() => [other.messages.at(-1)?.locations.length, other.ended], [1, false]);
  await copied(m, 'eustorage');
  await other.over;
});

test('a change of the locations is waited for until its difference is queued, and then for that', async () => {
  const digest = await pushed(m, newRepository());
  await copied(m, 'eustorage');
  await m.places.setDefaults(['apstorage', 'eustorage', 'usstorage'], true);
  const watching = watch();
  await eventually(() => [watching.messages.at(-1)?.openChanges, watching.ended], [1, false]);
  await requeued(m);
  await eventually(
    () => [watching.messages.at(-1)?.openChanges, watching.open('apstorage'), watching.ended],
    [0, 1, false],
  );
  await copied(m, 'apstorage', [digest]);
  await watching.over;
  assert.ok(watching.ended);
});

test('a copy that a change requires counts though a push after the call has queued it first', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo);
  await copied(m, 'eustorage');
  await m.namespaces.setLocations(namespaceOf(repo), { locations: ['apstorage'], replace: false });
  const watching = watch();
  await aWhile();
  await pushed(m, repo, 'usstorage', digest);
  await requeued(m);
  await eventually(() => [watching.open('apstorage'), watching.ended], [1, false]);
  await copied(m, 'apstorage');
  await watching.over;
});

test('what was pushed without replication counts, before and after it is queued', async () => {
  const off = openMetadata(m.url, { ...twoRegions, replicate: false });
  await pushed(off, newRepository());
  const watching = watch();
  await eventually(() => [watching.messages.at(-1)?.openChanges, watching.ended], [1, false]);
  await m.requeue.closeGap();
  await requeued(m);
  await eventually(() => [watching.open('eustorage'), watching.ended], [1, false]);
  await copied(m, 'eustorage');
  await watching.over;
  assert.ok(watching.ended);
});

test('a copy that is found to be damaged counts, though it was there at the call', async () => {
  const digest = await pushed(m, newRepository());
  await copied(m, 'eustorage');
  const other = await pushed(m, newRepository());
  const watching = watch();
  await m.replication.distrust(digest, 'eustorage', 'damaged');
  await copied(m, 'eustorage', [other]);
  await eventually(() => [watching.open('eustorage'), watching.ended], [1, false]);
  await copied(m, 'eustorage');
  await watching.over;
});

test('the last verified copy is found to be damaged while somebody mounts it: the mount comes before or after', async () => {
  const client = await session(m);
  for (let round = 0; round < 20; round++) {
    const [from, to] = [newRepository(), newRepository()];
    await m.namespaces.setLocations(namespaceOf(from), { locations: ['usstorage'], replace: true });
    await m.namespaces.setLocations(namespaceOf(to), { locations: ['usstorage'], replace: true });
    const digest = await pushed(m, from);
    await m.blobs.unlink(from, digest);
    await client.query('begin');
    await client.query('select link_blob(repository_id($1, $2), blob_id($3, 7))', [...to.split('/'), digest]);
    await client.query(`select queue_replication(array[blob_id($3, 7)], repository_id($1, $2), true, '')`, [
      ...to.split('/'),
      digest,
    ]);
    const distrusting = m.replication.distrust(digest, 'usstorage', 'damaged');
    await sleep(Math.random() * 10);
    await client.query('commit');
    await distrusting;
    const [row] = await m.db.query(
      `select (select count(*)::int from replication r where r.storage_id = s.id) as rows
         from imagestorage s where s.content_checksum = $1`,
      [digest],
    );
    assert.is(row?.rows, 1, `round ${round}: required, unverified, and queued`);
  }
});

test('more than ten thousand: what came since is taken off the exact sum', async () => {
  await m.db.query(`insert into imagestorage (image_size, content_checksum)
                    select 1, 'sha256:' || encode(sha256(n::text::bytea), 'hex') from generate_series(1, 12000) n`);
  await m.db.query(`insert into replication (storage_id, location_id)
                    select s.id, l.id from imagestorage s, imagestoragelocation l where l.name = 'eustorage'`);
  const watching = watch();
  await eventually(() => watching.open('eustorage'), 12_000);
  await pushed(m, newRepository(), 'usstorage', newDigest());
  await m.db.query('delete from replication where id in (select id from replication order by id limit 500)');
  await eventually(() => watching.open('eustorage'), 11_500);
  watching.cancel();
});

test('what is refused, and why', async () => {
  const failure = async (request: WatchReplicationRequest, client = admin) =>
    read(client.WatchReplication(request)).then(
      () => 'none',
      error => `${error.status} ${error.reason}`,
    );
  assert.is(await failure({ location: 'mars' }), 'NOT_FOUND LOCATION_UNKNOWN');
  assert.is(await failure({ intervalMs: -1 }), 'INVALID_ARGUMENT MALFORMED');
  const off = await startAdmin(m, { replicate: false });
  assert.is(await failure({}, off), 'none', 'all is there, whether replication is on or not');
  await pushed(m, newRepository());
  assert.is(await failure({}, off), 'FAILED_PRECONDITION REPLICATION_OFF');
});

test('a worker that ends says that it does, and lets go of its watchers', async () => {
  await pushed(m, newRepository());
  const ending = new AbortController();
  const client = await startAdmin(m, { ending: ending.signal });
  const watching = watch({}, client);
  await aWhile();
  ending.abort();
  await watching.over;
  assert.ok(hasReason(watching.failure, 'DRAINING'));
});

test('without the database it ends, and does not say that all is there', async () => {
  await pushed(m, newRepository());
  const db = new Database({ url: m.url, listenUrl: m.url, poolSize: 1 }, quiet);
  const watching = watch({}, await startAdmin({ ...m, db }));
  await aWhile();
  await db.close();
  await watching.over;
  assert.is(watching.ended, false);
  assert.ok(watching.failure);
  assert.not(watching.messages.some(each => each.inSync));
});

test.run();
