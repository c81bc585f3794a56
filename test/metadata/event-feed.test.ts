/** Events in the order of their ids, none missed though they become visible out of order. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { EventFeed } from '../../lib/metadata/event-feed.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { session } from '../support/rows.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('metadata: the events, in order');
const INSERT = `insert into replicationevent (namespace, repository, tag, digest, location, pushed_at)
  values ('team', 'app', 'v1', 'sha256:${'0'.repeat(64)}', 'usstorage', now()) returning id`;
/** As what makes events does it: it has written something before it takes an id. */
const MAKE = `with before as (insert into removedlocation values (gen_random_uuid()::text)) ${INSERT}`;
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});
test.before.each(async () => {
  await m.db.query('truncate replicationevent restart identity');
});

async function ids(feed: EventFeed): Promise<number[]> {
  return (await feed.next()).events.map(event => event.id);
}

/** What comes, once something does: other databases of the server have transactions, too, which are waited for. */
async function coming(feed: EventFeed): Promise<number[]> {
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline) {
    const found = await ids(feed);
    if (found.length > 0) return found;
    await sleep(20);
  }
  return [];
}

test('an event that becomes visible after a later one comes before it; one that was undone is not waited for', async () => {
  const [slow, undone] = [await session(m), await session(m)];
  const feed = new EventFeed(m.db, 0);
  await m.db.query(MAKE);
  for (const client of [slow, undone]) await client.query('begin');
  await slow.query(MAKE);
  await undone.query(MAKE);
  await m.db.query(MAKE);
  assert.equal(await ids(feed), [1]);
  await sleep(100);
  assert.equal(await ids(feed), [], 'it waits');
  await slow.query('commit');
  assert.equal(await coming(feed), [2]);
  assert.equal(await ids(feed), [], 'for the other one');
  await undone.query('rollback');
  assert.equal(await coming(feed), [4]);
});

test('a gap is waited at also for a transaction that began after the one whose event follows it', async () => {
  const [first, second] = [await session(m), await session(m)];
  for (const client of [first, second]) await client.query('begin');
  await first.query('select pg_current_xact_id()');
  await second.query('select pg_current_xact_id()');
  await second.query(MAKE);
  await first.query(MAKE);
  await first.query('commit');
  const feed = new EventFeed(m.db, 0);
  for (let look = 0; look < 3; look++) assert.equal(await ids(feed), []);
  await second.query('commit');
  assert.equal(await coming(feed), [1, 2]);
});

test('from now on; and from an event that is forgotten', async () => {
  for (let n = 0; n < 5; n++) await m.db.query(MAKE);
  const [now, old] = [await EventFeed.fromNow(m.db), new EventFeed(m.db, 1)];
  await m.db.query('delete from replicationevent where id < 4');
  await m.db.query(MAKE);
  assert.equal(await coming(now), [6]);
  assert.equal(await coming(old), [4, 5, 6]);
});

test('six writers whose transactions last differently, or fail: every event once, in order', async () => {
  const feed = new EventFeed(m.db, 0);
  const committed: number[] = [];
  const writers = Promise.all(
    Array.from({ length: 6 }, async () => {
      const client = await session(m);
      for (let n = 0; n < 25; n++) {
        await client.query('begin');
        const { rows } = await client.query(MAKE);
        await sleep(Math.random() * 8);
        const fails = Math.random() < 0.2;
        await client.query(fails ? 'rollback' : 'commit');
        if (!fails) committed.push(Number(rows[0].id));
      }
    }),
  );
  const seen: number[] = [];
  let ended = false;
  const end = writers.then(() => {
    ended = true;
  });
  const look = async () => {
    seen.push(...(await ids(feed)));
    return ended && seen.length >= committed.length;
  };
  assert.ok(await until(look, 25_000), `${seen.length} of ${committed.length}`);
  await end;
  assert.equal(await ids(feed), [], 'none twice');
  assert.equal(
    seen,
    committed.toSorted((a, b) => a - b),
  );
});

test.run();
