/** Removing a location, step by step in the database: what must hold whatever happens between two steps. */
import * as assert from 'uvu/assert';
import { Adoption } from '../../lib/metadata/adoption.js';
import { LocationClosed } from '../../lib/metadata/database.js';
import { Removal } from '../../lib/metadata/removal.js';
import type { Digest } from '../../lib/oci/digest.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import {
  copied,
  imageOf,
  namespaceOf,
  newDigest,
  newRepository,
  pushed,
  put,
  queued,
  requeued,
  session,
  untilWaitedFor,
} from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: removing a location');
let m: Metadata;
let removal: Removal;

test.before(async () => {
  m = await freshMetadata();
  removal = new Removal(m.db);
});
test.before.each(async () => {
  await m.db.query('truncate imagestoragelocation, removedlocation, "user", imagestorage, requeue, process cascade');
  await m.places.register(['usstorage', 'eustorage', 'apstorage']);
  await m.places.setDefaults(['usstorage', 'apstorage'], true);
  await requeued(m);
});

async function drained(location = 'eustorage'): Promise<void> {
  assert.is(await removal.advance(location, 'draining'), undefined);
}

/** Deletes what can be deleted; answers how many records had to stay. */
async function deletePlacements(location = 'eustorage', force = false): Promise<number> {
  let kept = 0;
  for (let after = '0'; ; ) {
    const step = await removal.deletePlacements(location, after, force);
    assert.ok(step.closed);
    kept += step.kept;
    if (step.last === undefined) return kept;
    after = step.last;
  }
}

async function placesOf(digest: Digest): Promise<string[]> {
  const rows = await m.db.query(
    `select l.name from imagestorageplacement p join imagestorage s on s.id = p.storage_id
       join imagestoragelocation l on l.id = p.location_id where s.content_checksum = $1 order by l.name`,
    [digest],
  );
  return rows.map(row => String(row.name));
}

async function idOf(digest: Digest): Promise<string> {
  const [row] = await m.db.query('select id::text as id from imagestorage where content_checksum = $1', [digest]);
  return String(row?.id);
}

const upload = (location: string, uuid: string) =>
  ({ repository: newRepository(), uuid, location, session: Buffer.from('s'), algorithm: 'sha256' }) as const;

test('drained: nothing is required, claimed or begun there any more; what was begun may end', async () => {
  await m.places.setDefaults(['usstorage', 'eustorage', 'apstorage'], true);
  const digest = await pushed(m, newRepository());
  assert.equal(await queued(m, digest), ['apstorage', 'eustorage']);
  const repo = newRepository();
  const begun = { ...upload('eustorage', 'begun'), repository: repo };
  assert.ok((await m.uploads.create(begun)).created);
  await drained();
  assert.equal(await queued(m, digest), ['apstorage']);
  assert.equal(await queued(m, await pushed(m, newRepository())), ['apstorage']);
  assert.equal(await m.uploads.create(upload('eustorage', 'late')), {
    created: false,
    allowed: ['apstorage', 'usstorage'],
  });
  assert.is((await m.replication.claimOne(digest, 'eustorage')).kind, 'unknown');
  const late = newDigest();
  const end = { ...begun, held: { byteCount: 0 }, digest: late, size: 7, traceId: '' };
  assert.ok(await m.uploads.finish(end));
  assert.equal(await placesOf(late), ['eustorage']);
  await removal.advance('eustorage', 'removing');
  const refused = await pushed(m, newRepository(), 'eustorage').catch(error => error);
  assert.instance(refused, LocationClosed);
});

test('records go only where another location that stays has the blob, verified, or nobody refers to it', async () => {
  const [kept, held, loose, unverified] = [newDigest(), newDigest(), newDigest(), newDigest()];
  const repo = newRepository();
  for (const digest of [kept, held, unverified]) await pushed(m, repo, 'eustorage', digest);
  for (const digest of [held, unverified]) await pushed(m, repo, 'usstorage', digest);
  await pushed(m, repo, 'eustorage', loose);
  await m.blobs.unlink(repo, loose);
  await m.db.query(
    `update imagestorageplacement set verified_at = null
      where storage_id = $1 and location_id = (select id from imagestoragelocation where name = 'usstorage')`,
    [await idOf(unverified)],
  );
  await drained();
  const found = await removal.lookForOnlyCopies('eustorage', '0');
  assert.equal(found.blobs, [await idOf(kept), await idOf(unverified)]);
  await removal.advance('eustorage', 'removing');
  assert.is(await deletePlacements(), 2);
  assert.equal(await placesOf(kept), ['eustorage']);
  assert.equal(await placesOf(held), ['usstorage']);
  assert.equal(await placesOf(unverified), ['eustorage', 'usstorage']);
  assert.equal(await placesOf(loose), []);
  assert.equal(await idOf(loose), 'undefined', 'nothing is left of it');
  assert.is((await removal.finish('eustorage')).outcome, 'not empty');
});

test('a copy that is found to be damaged elsewhere in between makes the one here the last', async () => {
  const digest = await pushed(m, newRepository(), 'eustorage');
  await pushed(m, newRepository(), 'usstorage', digest);
  await drained();
  assert.equal((await removal.lookForOnlyCopies('eustorage', '0')).blobs, []);
  await removal.advance('eustorage', 'removing');
  await m.replication.distrust(digest, 'usstorage', 'damaged');
  assert.is(await deletePlacements(), 1);
  assert.equal(await placesOf(digest), ['eustorage']);
});

test('what is only there is queued where it is required, or else to one location where it may be', async () => {
  await m.places.setDefaults(['usstorage'], true);
  await requeued(m);
  const resident = newRepository();
  await m.namespaces.setLocations(namespaceOf(resident), { locations: ['eustorage', 'apstorage'], replace: true });
  await requeued(m);
  const plain = await pushed(m, newRepository(), 'eustorage');
  const own = await pushed(m, resident, 'eustorage');
  await drained();
  await m.db.query('delete from replication');
  await removal.lookForOnlyCopies('eustorage', '0', ['usstorage', 'apstorage']);
  await removal.lookForOnlyCopies('eustorage', '0', ['usstorage', 'apstorage']);
  assert.equal(await queued(m, plain), ['usstorage']);
  assert.equal(await queued(m, own), ['apstorage']);
  assert.is((await m.db.query('select 1 from replication where rescue')).length, 2);
  await copied(m, 'usstorage');
  await copied(m, 'apstorage');
  assert.equal((await removal.rescueState('eustorage', [await idOf(plain), await idOf(own)])).blobs, []);
});

test('given up, it is in use again: what it must have is queued, and no copy is made any more to rescue', async () => {
  await m.places.setDefaults(['usstorage', 'eustorage'], true);
  await requeued(m);
  const digest = await pushed(m, newRepository(), 'usstorage');
  const other = await pushed(m, newRepository(), 'eustorage');
  await copied(m, 'usstorage');
  await drained();
  await m.db.query(
    `insert into replication (storage_id, location_id, rescue)
     select $1, id, true from imagestoragelocation where name = 'apstorage'`,
    [await idOf(other)],
  );
  await removal.advance('eustorage', 'removing');
  await deletePlacements();
  assert.ok(await removal.giveUp('eustorage', true));
  assert.not(await removal.giveUp('eustorage', true));
  await requeued(m);
  assert.equal(await queued(m, digest), ['eustorage']);
  assert.equal(await queued(m, other), ['eustorage']);
  assert.is((await removal.deletePlacements('eustorage', '0', true)).closed, false);
});

test('given up: who was still taking out of the queue what is queued to it takes out no more', async () => {
  await m.places.setDefaults(['usstorage', 'eustorage'], true);
  await requeued(m);
  const digest = await pushed(m, newRepository());
  await drained();
  const givingUp = await session(m);
  await givingUp.query('begin');
  await givingUp.query(`select give_up_removal('eustorage', true)`);
  const leaving = m.db.query(`select leave_queue('eustorage', 100) as more`);
  try {
    await untilWaitedFor(m, givingUp);
  } finally {
    await givingUp.query('commit');
  }
  assert.equal(await leaving, [{ more: false }]);
  await requeued(m);
  assert.equal(await queued(m, digest), ['eustorage']);
  await m.db.query(`select leave_queue('eustorage', 100)`);
  assert.equal(await queued(m, digest), ['eustorage']);
});

test('the only location, one that a process must have, and the only one of a namespace stay', async () => {
  const repo = newRepository();
  await m.namespaces.setLocations(namespaceOf(repo), { locations: ['eustorage'], replace: true });
  await m.db.query(
    `insert into process (id, role, address, version, config_hash, locations, defaults, lease_until)
     values (gen_random_uuid(), 'worker', 'there:1', '1', 'x', '{eustorage}', '{eustorage}', now() + interval '1 minute'),
            (gen_random_uuid(), 'gateway', 'dead:1', '1', 'x', '{eustorage}', '{eustorage}', now() - interval '1 minute')`,
  );
  const expected = { isOnly: false, processes: ['worker there:1'], namespaces: [namespaceOf(repo)], adopted: false };
  assert.equal(await removal.obstacles('eustorage'), expected);
  assert.equal(await removal.advance('eustorage', 'draining'), expected);
  assert.is(await removal.state('eustorage'), 'active');
  await drained('usstorage');
  assert.not((await removal.obstacles('apstorage')).isOnly);
  await m.db.query('delete from process');
  await m.namespaces.setLocations(namespaceOf(repo), { locations: [], replace: false });
  await drained('eustorage');
  assert.ok((await removal.advance('apstorage', 'draining'))?.isOnly, 'two are on their way out already');
});

test('what was adopted is held, until it is released, or given up by force', async () => {
  const adoption = new Adoption(m.db);
  const digest = newDigest();
  assert.equal(await adoption.adopt('eustorage', [{ digest, size: 7 }], false), [
    { digest, adopted: true, conflict: undefined },
  ]);
  assert.ok((await removal.advance('eustorage', 'draining'))?.adopted);
  assert.is(await removal.state('eustorage'), 'active');
  assert.not((await removal.obstacles('eustorage', true)).adopted);
  assert.is(await removal.advance('eustorage', 'draining', true), undefined);
  assert.equal(
    await adoption.adopt('eustorage', [{ digest: newDigest(), size: 7 }], false),
    [],
    'it takes nothing over now',
  );
  await removal.giveUp('eustorage', true);
  assert.equal(await adoption.releaseSome('eustorage'), { released: 1, more: false });
  assert.is((await m.db.query('select 1 from imagestorage')).length, 0);
  await drained();
});

test('two that are removed at once: neither counts on the other', async () => {
  const digest = await pushed(m, newRepository(), 'eustorage');
  await pushed(m, newRepository(), 'usstorage', digest);
  for (const location of ['eustorage', 'usstorage']) {
    await drained(location);
    await removal.advance(location, 'removing');
  }
  assert.is(await deletePlacements('eustorage'), 1);
  assert.is(await deletePlacements('usstorage'), 1);
  await copied(m, 'apstorage');
  assert.is(await deletePlacements('eustorage'), 0);
  assert.is(await deletePlacements('usstorage'), 0);
  assert.equal(await placesOf(digest), ['apstorage']);
});

test('gone: its name stays, and neither an old configuration nor a late commit brings it back', async () => {
  const digest = await pushed(m, newRepository(), 'eustorage');
  await copied(m, 'usstorage');
  await copied(m, 'apstorage');
  await m.namespaces.setLocations('some', { locations: ['eustorage'], replace: false });
  await requeued(m);
  await drained();
  await removal.advance('eustorage', 'removing');
  assert.is(await deletePlacements(), 0);
  assert.is((await removal.finish('eustorage')).outcome, 'deleted');
  assert.is(await removal.state('eustorage'), 'removed');
  assert.equal(await placesOf(digest), ['apstorage', 'usstorage']);
  assert.equal(await m.places.register(['usstorage', 'eustorage']), ['eustorage']);
  await m.places.setDefaults(['eustorage'], true);
  assert.equal(await m.places.identify('eustorage', 'f1cf1b0c-1b5c-4a55-8df8-8c4e3a7f1f5b'), false);
  assert.is((await m.db.query("select 1 from imagestoragelocation where name = 'eustorage'")).length, 0);
  assert.is((await m.db.query('select 1 from defaultlocation')).length, 2, 'blobs are still required somewhere');
  assert.instance(await pushed(m, newRepository(), 'eustorage').catch(error => error), LocationClosed);
  assert.is((await m.uploads.create(upload('eustorage', 'late'))).created, false);
});

test('by force: the images that break are known, and a push of what is lost heals them', async () => {
  const repo = newRepository();
  const [lost, safe] = [newDigest(), newDigest()];
  for (const digest of [lost, safe]) await pushed(m, repo, 'eustorage', digest);
  await pushed(m, repo, 'usstorage', safe);
  const image = imageOf([safe, lost]);
  await put(m, repo, image, 'v1', 'v2');
  await drained();
  const { blobs } = await removal.lookForOnlyCopies('eustorage', '0');
  const broken: string[] = [];
  for await (const each of removal.imagesWith(await removal.nowhereElse('eustorage', blobs))) {
    broken.push(`${each.repository}:${each.tag} ${each.manifest === image.digest} ${each.digest === lost}`);
  }
  assert.equal(broken, [`${repo}:v1 true true`, `${repo}:v2 true true`]);
  await removal.advance('eustorage', 'removing');
  assert.is(await deletePlacements('eustorage', true), 0);
  assert.is((await removal.finish('eustorage')).outcome, 'deleted');
  assert.equal(await m.blobs.find(repo, lost), { repositoryKnown: true });
  assert.is(await m.blobs.mount({ repository: newRepository(), digest: lost, from: repo, traceId: '' }), undefined);
  const again = await put(m, repo, imageOf([lost]), 'v3');
  assert.is(again.kind, 'blobs-missing');
  assert.equal(await queued(m, lost), ['apstorage', 'usstorage'], 'what is missing is known');
  await pushed(m, repo, 'usstorage', lost);
  assert.equal((await m.blobs.find(repo, lost)).blob?.locations, ['usstorage']);
  assert.equal(await queued(m, lost), ['apstorage']);
});

test('by force: what is lost is missing until the last image that needs it is deleted', async () => {
  const repo = newRepository();
  const lost = await pushed(m, repo, 'eustorage');
  const images = [imageOf([lost, await pushed(m, repo, 'usstorage')]), imageOf([lost])] as const;
  for (const image of images) await put(m, repo, image, 'v1');
  await drained();
  await removal.advance('eustorage', 'removing');
  await deletePlacements('eustorage', true);
  const missing = ['apstorage', 'usstorage'];
  assert.equal(await queued(m, lost), missing);
  assert.equal(await m.manifests.remove(repo, images[0].digest), []);
  assert.equal(await queued(m, lost), missing, 'another image needs it');
  assert.equal(await m.manifests.remove(repo, images[1].digest), []);
  assert.equal(await queued(m, lost), []);
  assert.is(await m.manifests.remove(repo, images[1].digest), undefined);
  const counts = await m.db.query(
    `select sum(c.missing)::int as missing from locationcount c join imagestoragelocation l on l.id = c.location_id
      where l.name = 'usstorage'`,
  );
  assert.equal(counts, [{ missing: 0 }]);
});

/** Deletes by force, in a transaction that stays open until somebody waits for it; meanwhile `push` has begun. */
async function whileDeletedByForce<T>(push: () => Promise<T>): Promise<T> {
  const client = await session(m);
  await client.query('begin');
  await client.query(`select delete_placements('eustorage', 0, 500, true)`);
  const pushing = push();
  await untilWaitedFor(m, client);
  await client.query('commit');
  return pushing;
}

test('by force: a push, or a mount, of what is being lost at the same moment is told that it is not there', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo, 'eustorage');
  // So that the blob's row stays when its last record goes.
  await put(m, repo, imageOf([digest]), 'v1');
  await drained();
  await removal.advance('eustorage', 'removing');
  const image = imageOf([digest]);
  const answer = await whileDeletedByForce(() => put(m, repo, image, 'v2'));
  assert.equal(answer, { kind: 'blobs-missing', digests: [digest] });
  assert.is((await m.manifests.find(repo, { digest: image.digest })).manifest, undefined);

  await m.db.query("update locationstate set state = 'active'");
  await pushed(m, repo, 'eustorage', digest);
  await m.db.query(
    "update locationstate set state = 'removing' where location_id = (select id from imagestoragelocation where name = 'eustorage')",
  );
  const mounted = await whileDeletedByForce(() =>
    m.blobs.mount({ repository: newRepository(), digest, from: repo, traceId: '' }),
  );
  assert.is(mounted, undefined);
});

test('somebody begins to refer to a blob while its last record is being deleted: it stays, or is new', async () => {
  for (let round = 0; round < 20; round++) {
    const digest = await pushed(m, newRepository(), 'eustorage');
    await m.db.query('delete from uploadedblob');
    if (round === 0) {
      await drained();
      await removal.advance('eustorage', 'removing');
    } else {
      // As if it had come before that.
      await m.db.query(
        "update locationstate set state = 'removing'  where location_id = (select id from imagestoragelocation where name = 'eustorage')",
      );
    }
    const client = await session(m);
    const repo = newRepository();
    const push = async () => {
      await client.query('begin');
      await client.query(`select store_blob(repository_id($1, $2), $3, 7, 'usstorage', true, '')`, [
        ...repo.split('/'),
        digest,
      ]);
      await client.query('commit');
    };
    await Promise.all([push(), deletePlacements()]);
    assert.ok((await m.blobs.find(repo, digest)).blob?.locations.includes('usstorage'), `round ${round}`);
    await m.db.query("update locationstate set state = 'active'");
  }
});

test.run();
