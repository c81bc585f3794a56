/** The write quorum: a tag moves only once enough locations hold everything that the image needs. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { claimAll } from '../support/claims.js';
import { freshMetadata, type Metadata, twoRegions } from '../support/clients.js';
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
  queued,
  tag,
} from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: write quorum');
let m: Metadata;

test.before(async () => {
  m = await freshMetadata({ ...twoRegions, writeQuorum: 2 });
});

const isTagged = async (repo: ReturnType<typeof newRepository>, name: string) =>
  (await m.manifests.find(repo, { tag: tag(name) })).manifest !== undefined;

test('short: stored, not tagged, and said what is missing where; enough: tagged', async () => {
  const repo = newRepository();
  const [one, two] = [await pushed(m, repo), await pushed(m, repo)];
  const image = imageOf([one, two]);
  const lacking = (digests: string[]) => ({
    kind: 'short-of-quorum',
    blobs: digests.sort().map(digest => ({ digest, lacking: ['eustorage'] })),
  });
  assert.equal(await put(m, repo, image, 'v1'), lacking([one, two]));
  assert.not(await isTagged(repo, 'v1'));
  assert.ok((await m.manifests.find(repo, { digest: image.digest })).manifest);
  assert.equal(await eventsOf(m, image), [], 'nobody is told of what is not acknowledged');
  await copied(m, 'eustorage', [one]);
  assert.equal(await m.manifests.tag(repo, image.digest, [tag('v1')], 50), lacking([two]));
  await copied(m, 'eustorage', [two]);
  assert.equal(await m.manifests.tag(repo, image.digest, [tag('v1')], 5_000), { kind: 'stored' });
  assert.ok(await isTagged(repo, 'v1'));
  assert.equal(await eventsOf(m, image), ['v1 eustorage', 'v1 usstorage']);
  const lag = (await m.events.after(0, 100)).find(event => event.digest === image.digest)?.lagMs ?? 0;
  assert.ok(lag >= 5_000, `the wait counts: ${lag} ms`);
  assert.equal(await put(m, repo, image, 'v2'), { kind: 'stored' });
});

test('an image that waits does not move a tag that is there', async () => {
  const repo = newRepository();
  const old = imageOf([await pushed(m, repo)]);
  await copied(m, 'eustorage');
  await put(m, repo, old, 'v1');
  await put(m, repo, imageOf([await pushed(m, repo)]), 'v1');
  assert.is((await m.manifests.find(repo, { tag: tag('v1') })).manifest?.digest, old.digest);
});

test('a copy that is not verified does not count', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo);
  await copied(m, 'eustorage');
  await m.db.query(
    `update imagestorageplacement set verified_at = null
      where storage_id = (select id from imagestorage where content_checksum = $1)
        and location_id = (select id from imagestoragelocation where name = 'eustorage')`,
    [digest],
  );
  assert.is((await put(m, repo, imageOf([digest]), 'v1')).kind, 'short-of-quorum');
});

test('only required locations count, and no more of them than a namespace has', async () => {
  await m.places.register(['apstorage']);
  const repo = newRepository();
  const digest = await pushed(m, repo);
  await pushed(m, repo, 'apstorage', digest);
  assert.is((await put(m, repo, imageOf([digest]), 'v1')).kind, 'short-of-quorum', 'ap is not required');
  const resident = newRepository();
  await m.namespaces.setLocations(namespaceOf(resident), { locations: ['apstorage'], replace: true });
  const only = await pushed(m, resident, 'apstorage');
  assert.equal(await put(m, resident, imageOf([only]), 'v1'), { kind: 'stored' });
});

test('what a push waits for goes first, and at once though it was postponed; claims are left alone', async () => {
  const repo = newRepository();
  const [postponed, claimed] = [await pushed(m, repo), await pushed(m, repo)];
  const jobs = await claimAll(m.replication, 'eustorage');
  for (const job of jobs) if (job.digest !== claimed) await m.replication.postpone(job, 300_000, 'eu is away');
  const rows = () =>
    m.db.query(
      `select s.content_checksum as digest, r.priority, r.next_attempt_at <= now() as due, r.lease_token is null as free
         from replication r join imagestorage s on s.id = r.storage_id where s.content_checksum = any ($1)`,
      [[postponed, claimed]],
    );
  assert.ok((await rows()).every(row => row.due === false));
  for (let push = 0; push < 2; push++) {
    await put(m, repo, imageOf([postponed, claimed]), 'v1');
    const after = await rows();
    assert.ok(after.every(row => row.priority === 100));
    assert.equal(after.find(row => row.digest === postponed)?.due, true);
    assert.equal(after.find(row => row.digest === claimed)?.free, false);
    // It fails again; the next push of the same image hastens it again.
    for (const job of await claimAll(m.replication, 'eustorage'))
      await m.replication.postpone(job, 300_000, 'still away');
  }
  assert.equal(await queued(m, postponed), ['eustorage']);
});

test('an index waits for the blobs of its present children; a deleted manifest is told', async () => {
  const repo = newRepository();
  const child = imageOf([await pushed(m, repo)]);
  const index = indexOf([child, imageOf([])]);
  assert.is((await put(m, repo, child)).kind, 'short-of-quorum', 'by digest it waits, too');
  assert.is((await put(m, repo, index, 'v1')).kind, 'short-of-quorum');
  await copied(m, 'eustorage');
  assert.equal(await m.manifests.tag(repo, index.digest, [tag('v1')], 0), { kind: 'stored' });
  await m.manifests.remove(repo, index.digest);
  assert.is(await m.manifests.tag(repo, index.digest, [tag('v1')], 0), undefined);
});

test('an index and its child at the same moment, in 40 rounds: if the child was there first, its blobs count', async () => {
  for (let round = 0; round < 40; round++) {
    const repo = newRepository();
    const child = imageOf([await pushed(m, repo)]);
    const index = indexOf([child]);
    const later = async <T>(work: () => Promise<T>): Promise<T> => {
      await sleep(Math.random() * 3);
      return work();
    };
    const [, outcome] = await Promise.all([later(() => put(m, repo, child)), later(() => put(m, repo, index, 'v1'))]);
    // Whichever came second linked the two.
    const [link] = await m.db.query(
      `select mc.xmin = p.xmin as by_index from manifestchild mc join manifest p on p.id = mc.manifest_id where p.digest = $1`,
      [index.digest],
    );
    assert.is(outcome.kind, link?.by_index ? 'short-of-quorum' : 'stored', `round ${round}`);
    assert.is(await isTagged(repo, 'v1'), outcome.kind === 'stored', `round ${round}`);
  }
});

async function children(index: Image): Promise<number> {
  const rows = await m.db.query(
    'select 1 from manifestchild mc join manifest p on p.id = mc.manifest_id where p.digest = $1',
    [index.digest],
  );
  return rows.length;
}

test('a child that is missing does not hold the index up, and is linked when it comes', async () => {
  const repo = newRepository();
  const child = imageOf([await pushed(m, repo)]);
  const index = indexOf([child]);
  assert.equal(await put(m, repo, index, 'v1'), { kind: 'stored', absent: [child.digest] });
  assert.is(await children(index), 0);
  await put(m, repo, child);
  assert.is(await children(index), 1);
});

test.run();
