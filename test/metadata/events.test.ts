/** One event for each push of an image and each location, once all of its blobs are there; also when all happens at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import * as assert from 'uvu/assert';
import type { Digest } from '../../lib/oci/digest.js';
import { claimAll } from '../support/claims.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import {
  copied,
  eventsOf,
  type Image,
  imageOf,
  indexOf,
  namespaceOf,
  newRepository,
  pushed,
  put,
  putIn,
  requeued,
  session,
} from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: events');
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});

/** Looks at all waiting images, as the workers do now and then. */
async function swept(): Promise<void> {
  for (let at: number | undefined = 0; at !== undefined; ) at = await m.events.sweep(at, 100);
}

async function waiting(): Promise<number> {
  const [row] = await m.db.query('select count(*)::int as n from pendingimage');
  return Number(row?.n);
}

/** An image of new blobs that are in us, and its repository; nothing else waits to be copied. */
async function newImage(blobs: number) {
  await copied(m, 'eustorage');
  const repo = newRepository();
  const digests: Digest[] = [];
  for (let n = 0; n < blobs; n++) digests.push(await pushed(m, repo));
  return { repo, digests, image: imageOf(digests) };
}

test('first where it was pushed, then elsewhere when the last blob has come; with the time since the push', async () => {
  const { repo, digests, image } = await newImage(3);
  await put(m, repo, image, 'v1');
  assert.equal(await eventsOf(m, image), ['v1 usstorage']);
  await copied(m, 'eustorage', digests.slice(0, 2));
  assert.equal(await eventsOf(m, image), ['v1 usstorage']);
  await sleep(50);
  await copied(m, 'eustorage');
  assert.equal(await eventsOf(m, image), ['v1 eustorage', 'v1 usstorage']);
  const event = (await m.events.after(0, 1_000)).find(
    each => each.digest === image.digest && each.location === 'eustorage',
  );
  assert.is(event?.namespace, namespaceOf(repo));
  assert.is(event?.repository, 'app');
  assert.ok((event?.lagMs ?? 0) >= 50);
  assert.ok((event?.pushedAt ?? '') < (event?.completedAt ?? ''));
  assert.is(await waiting(), 0);
});

test('all at once when everything is there already; again for each push; one for each tag', async () => {
  const { repo, image } = await newImage(2);
  await copied(m, 'eustorage');
  await put(m, repo, image, 'v1', 'latest');
  const once = ['latest eustorage', 'latest usstorage', 'v1 eustorage', 'v1 usstorage'];
  assert.equal(await eventsOf(m, image), once);
  await put(m, repo, image, 'v1');
  assert.equal(await eventsOf(m, image), [...once, 'v1 eustorage', 'v1 usstorage'].sort());
});

test('a second push of what still waits makes one event, and counts from that push', async () => {
  const { repo, image } = await newImage(1);
  await put(m, repo, image, 'v1');
  await put(m, repo, image, 'v1');
  await copied(m, 'eustorage');
  assert.equal(await eventsOf(m, image), ['v1 eustorage', 'v1 usstorage', 'v1 usstorage']);
});

test('an index arrives when all blobs of its children have; a child that comes late is linked', async () => {
  const { repo, digests } = await newImage(4);
  const [one, two] = [imageOf(digests.slice(0, 2)), imageOf(digests.slice(2))] as [Image, Image];
  const index = indexOf([one, two]);
  await put(m, repo, one);
  await put(m, repo, index, 'v1');
  const children = async () => {
    const rows = await m.db.query(
      `select c.digest from manifestchild mc join manifest p on p.id = mc.manifest_id
         join manifest c on c.id = mc.child_manifest_id where p.digest = $1`,
      [index.digest],
    );
    return rows.map(row => row.digest).sort();
  };
  assert.equal(await children(), [one.digest]);
  await put(m, repo, two);
  assert.equal(await children(), [one.digest, two.digest].sort());
  await copied(m, 'eustorage', digests.slice(0, 3));
  assert.equal(await eventsOf(m, one), [' eustorage', ' usstorage']);
  assert.equal(await eventsOf(m, index), ['v1 usstorage'], 'a blob of the late child is missing');
  await copied(m, 'eustorage');
  assert.equal(await eventsOf(m, index), ['v1 eustorage', 'v1 usstorage']);
});

test('an index and its child that are pushed at the same moment are linked, in 20 rounds', async () => {
  for (let round = 0; round < 20; round++) {
    const repo = newRepository();
    const child = imageOf([await pushed(m, repo)]);
    const index = indexOf([child]);
    const later = async (image: Image, ...tags: string[]) => {
      await sleep(Math.random() * 3);
      await put(m, repo, image, ...tags);
    };
    await Promise.all([later(index, 'v1'), later(child)]);
    const rows = await m.db.query(
      'select 1 from manifestchild mc join manifest p on p.id = mc.manifest_id where p.digest = $1',
      [index.digest],
    );
    assert.is(rows.length, 1, `round ${round}`);
  }
});

/** Records a copy as made, in a transaction that stays open for a while. */
async function slowCopy(client: pg.Client, job: { id: string; token: string }): Promise<void> {
  await sleep(Math.random() * 5);
  await client.query('begin');
  await client.query('select complete_replication($1, $2)', [[job.id], [job.token]]);
  await sleep(Math.random() * 10);
  await client.query('commit');
}

async function slowPut(client: pg.Client, repo: ReturnType<typeof newRepository>, image: Image): Promise<void> {
  await sleep(Math.random() * 5);
  await client.query('begin');
  await putIn(client, repo, image, 'v1');
  await sleep(Math.random() * 10);
  await client.query('commit');
}

test('the last two blobs come at the same moment by two workers, in 20 interleavings: exactly one event', async () => {
  const [one, two] = [await session(m), await session(m)];
  for (let round = 0; round < 20; round++) {
    const { repo, image } = await newImage(2);
    await put(m, repo, image, 'v1');
    const [first, second] = await claimAll(m.replication, 'eustorage');
    if (!first || !second) throw new Error('two copies were to be made');
    await Promise.all([slowCopy(one, first), slowCopy(two, second)]);
    assert.equal(await eventsOf(m, image), ['v1 eustorage', 'v1 usstorage'], `round ${round}, without any sweep`);
  }
});

test('the push and the last copy at the same moment, in 20 interleavings: exactly one event, after a sweep', async () => {
  const [pusher, worker] = [await session(m), await session(m)];
  for (let round = 0; round < 20; round++) {
    const { repo, image } = await newImage(1);
    const [job] = await claimAll(m.replication, 'eustorage');
    if (!job) throw new Error('a copy was to be made');
    await Promise.all([slowPut(pusher, repo, image), slowCopy(worker, job)]);
    await swept();
    assert.equal(await eventsOf(m, image), ['v1 eustorage', 'v1 usstorage'], `round ${round}`);
  }
});

test('neither the push nor the last copy sees the other: the sweep of those that wait for a short time finds it', async () => {
  const [pusher, worker] = [await session(m), await session(m)];
  const { repo, image } = await newImage(1);
  const [job] = await claimAll(m.replication, 'eustorage');
  await pusher.query('begin');
  await putIn(pusher, repo, image, 'v1');
  await worker.query('select complete_replication($1, $2)', [[job?.id], [job?.token]]);
  await pusher.query('commit');
  assert.equal(await eventsOf(m, image), ['v1 usstorage']);
  await Promise.all([m.events.sweep(0, 1_000, 60), m.events.sweep(0, 1_000, 60)]);
  assert.equal(await eventsOf(m, image), ['v1 eustorage', 'v1 usstorage']);
});

test('nobody waits for an image where it need not come any more', async () => {
  const { repo, image } = await newImage(1);
  await put(m, repo, image, 'v1');
  assert.is(await waiting(), 1);
  await m.namespaces.setLocations(namespaceOf(repo), { locations: ['usstorage'], replace: true });
  await requeued(m);
  assert.is(await waiting(), 0);
  await put(m, repo, image, 'v2');
  assert.equal(await eventsOf(m, image), ['v1 usstorage', 'v2 usstorage']);
});

test('publishing: taken by one, by its own location first, again if nobody says that it was told, then never', async () => {
  await m.db.query('delete from replicationevent');
  const { repo, image } = await newImage(1);
  await put(m, repo, image, 'v1');
  assert.equal(await m.events.take(['eustorage'], 10), [], 'us may tell it for itself');
  const takers = await Promise.all([1, 2, 3, 4].map(() => m.events.take(['usstorage'], 10)));
  const [event, ...more] = takers.flat();
  assert.is(event?.digest, image.digest);
  assert.equal(more, []);
  const later = () =>
    m.db.query(
      `update replicationevent set taken_until = taken_until - interval '11 seconds', completed_at = completed_at - interval '11 seconds'`,
    );
  await later();
  const again = await m.events.take(['eustorage'], 10);
  assert.is(again[0]?.id, event?.id);
  await m.events.published(again);
  await later();
  assert.equal(await m.events.take(['usstorage', 'eustorage'], 10), []);
});

test('old events are forgotten', async () => {
  const { repo, image } = await newImage(1);
  await put(m, repo, image, 'v1');
  await m.events.forget(30);
  assert.equal(await eventsOf(m, image), ['v1 usstorage']);
  await m.db.query(`update replicationevent set completed_at = completed_at - interval '31 days'`);
  await m.events.forget(30);
  assert.equal(await eventsOf(m, image), []);
});

test.run();
