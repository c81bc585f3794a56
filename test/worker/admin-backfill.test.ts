/** BackfillReplication: what is required and missing is queued, said exactly, and nothing else is touched. */
import * as assert from 'uvu/assert';
import type { Digest } from '../../lib/oci/digest.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { BackfillReplicationRequest } from '../../proto/generated/entrepot/admin/v1/BackfillReplicationRequest.js';
import type { BackfillReplicationResponse__Output } from '../../proto/generated/entrepot/admin/v1/BackfillReplicationResponse.js';
import { failure, read, startAdmin } from '../support/admin.js';
import { freshMetadata, type Metadata, openMetadata, twoRegions } from '../support/clients.js';
import {
  copied,
  emptied,
  imageOf,
  namespaceOf,
  newRepository,
  pushed,
  put,
  queued,
  requeued,
} from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('worker: backfill');
let m: Metadata;
let admin: AdminClient;
let signals = 0;

test.before(async () => {
  m = await freshMetadata();
  await m.places.register(['apstorage']);
  admin = await startAdmin(m, { onQueued: () => signals++ });
});
test.before.each(async () => {
  await emptied(m);
  signals = 0;
});

/** What a backfill says at its end, `location queued/alreadyQueued/inSync`, and what it lists. */
async function backfill(request: BackfillReplicationRequest = {}) {
  const messages = await read<BackfillReplicationResponse__Output>(admin.BackfillReplication(request));
  const last = messages.at(-1)?.progress;
  assert.is(last?.done, true);
  assert.is(last?.blobsDone, last?.blobsTotal);
  return {
    blobs: last?.blobsDone,
    counts: last?.locations.map(each => `${each.location} ${each.queued}/${each.alreadyQueued}/${each.inSync}`),
    listed: messages.flatMap(({ queued: copy }) => (copy ? `${copy.location} ${copy.digest} ${copy.size}` : [])).sort(),
  };
}

/** Forgets what is queued, as somebody may who changes the database by hand. */
async function lost(): Promise<void> {
  await m.db.query('delete from replication');
}
async function rows(): Promise<number> {
  return (await m.db.query('select from replication')).length;
}

test('finds what is missing and not queued, once; says what was queued and what is there; tells the workers', async () => {
  const digests = await Promise.all(Array.from({ length: 6 }, () => pushed(m, newRepository())));
  await copied(m, 'eustorage', digests.slice(0, 2));
  await m.db.query(
    'delete from replication where storage_id in (select id from imagestorage where content_checksum = any ($1))',
    [digests.slice(2, 5)],
  );
  const expected = digests.slice(2, 5).map(digest => `eustorage ${digest} 7`);
  const counts = ['apstorage 0/0/0', 'eustorage 3/1/2', 'usstorage 0/0/6'];
  assert.equal(await backfill({ dryRun: true, list: true }), { blobs: 6, counts, listed: expected.sort() });
  assert.equal([await rows(), signals], [1, 0], 'a dry run changes nothing');
  assert.equal(await backfill({ list: true }), { blobs: 6, counts, listed: expected.sort() });
  assert.equal([await rows(), signals], [4, 1]);
  assert.equal(await backfill(), {
    blobs: 6,
    counts: ['apstorage 0/0/0', 'eustorage 0/4/2', 'usstorage 0/0/6'],
    listed: [],
  });
  await copied(m, 'eustorage');
  assert.equal((await backfill()).counts, ['apstorage 0/0/0', 'eustorage 0/0/6', 'usstorage 0/0/6']);
});

test('an unverified copy is missing; a blob that only a manifest needs is not forgotten; one that nobody needs is', async () => {
  const repo = newRepository();
  const [one, two] = [await pushed(m, repo), await pushed(m, repo)];
  await put(m, repo, imageOf([one]), 'v1');
  await m.blobs.unlink(repo, one);
  await m.blobs.unlink(repo, two);
  await m.db.query(
    'update imagestorageplacement set verified_at = null where storage_id = (select min(id) from imagestorage)',
  );
  await lost();
  assert.equal((await backfill()).counts, ['apstorage 0/0/0', 'eustorage 1/0/0', 'usstorage 1/0/0']);
  assert.equal([await queued(m, one), await queued(m, two)], [['eustorage', 'usstorage'], []]);
});

test('for one location, or of one namespace; a blob goes where any of its namespaces wants it', async () => {
  const [plain, special] = [newRepository(), newRepository()];
  const [one, two, shared] = [await pushed(m, plain), await pushed(m, special), await pushed(m, plain)] as [
    Digest,
    Digest,
    Digest,
  ];
  await m.blobs.mount({ repository: special, digest: shared, from: plain, traceId: '' });
  await m.namespaces.setLocations(namespaceOf(special), { locations: ['apstorage'], replace: true });
  await requeued(m);
  await lost();
  const only = await backfill({ namespace: namespaceOf(special), dryRun: true, list: true });
  assert.equal(only.listed, [`apstorage ${shared} 7`, `apstorage ${two} 7`, `eustorage ${shared} 7`].sort());
  assert.equal((await backfill({ location: 'eustorage' })).counts, ['eustorage 2/0/0']);
  assert.equal(
    [await queued(m, one), await queued(m, two), await queued(m, shared)],
    [['eustorage'], [], ['eustorage']],
  );
  await backfill({ namespace: namespaceOf(special), location: 'apstorage' });
  assert.equal([await queued(m, two), await queued(m, shared)], [['apstorage'], ['apstorage', 'eustorage']]);
});

test('nothing is required where a location is being removed; what is only being rescued becomes required', async () => {
  const digest = await pushed(m, newRepository());
  await m.db.query('update replication set rescue = true');
  assert.equal((await backfill()).counts, ['apstorage 0/0/0', 'eustorage 1/0/0', 'usstorage 0/0/1']);
  assert.equal(await m.db.query('select rescue, since::int from replication'), [{ rescue: false, since: 0 }]);
  await m.db.query(`update locationstate set state = 'draining'
                     where location_id = (select id from imagestoragelocation where name = 'eustorage')`);
  await lost();
  assert.equal((await backfill()).counts, ['apstorage 0/0/0', 'eustorage 0/0/0', 'usstorage 0/0/1']);
  assert.equal(await queued(m, digest), []);
});

test('what was pushed while replication was off: the gap is closed by a full run only', async () => {
  const off = openMetadata(m.url, { ...twoRegions, replicate: false });
  const digest = await pushed(off, newRepository());
  const gaps = async () => (await m.db.query('select from replicationgap')).length;
  await backfill({ dryRun: true });
  await backfill({ location: 'apstorage' });
  assert.is(await gaps(), 1);
  assert.equal((await backfill()).counts, ['apstorage 0/0/0', 'eustorage 1/0/0', 'usstorage 0/0/1']);
  assert.is(await gaps(), 0);
  await requeued(m);
  assert.equal(await queued(m, digest), ['eustorage']);
});

test('thousands of blobs, in pieces; ending the call leaves what it has queued', async () => {
  await m.db.query(`insert into "user" (username) values ('many')`);
  await m.db.query(
    `insert into repository (namespace_user_id, name) select id, 'app' from "user" where username = 'many'`,
  );
  await m.db.query(`insert into imagestorage (image_size, content_checksum)
                    select 1, 'sha256:' || encode(sha256(n::text::bytea), 'hex') from generate_series(1, 5000) n`);
  await m.db.query(`insert into imagestorageplacement (storage_id, location_id, verified_at)
                    select s.id, l.id, now() from imagestorage s, imagestoragelocation l where l.name = 'usstorage'`);
  await m.db.query(`insert into uploadedblob (repository_id, blob_id, expires_at)
                    select (select max(id) from repository), id, now() from imagestorage`);
  const [first] = await read(admin.BackfillReplication({ list: true }), 1);
  assert.ok(first);
  await m.db.query('select 1');
  const left = await rows();
  assert.ok(left >= 2_000 && left < 5_000, `${left}`);
  const rest = await backfill();
  const again = await backfill();
  assert.equal(again.counts, ['apstorage 0/0/0', 'eustorage 0/5000/0', 'usstorage 0/0/5000']);
  assert.is(rest.blobs, 5_000);
});

const failureOf = (request: BackfillReplicationRequest, client = admin) =>
  failure(read(client.BackfillReplication(request)));

test('what is refused, and why', async () => {
  assert.match(await failureOf({ location: 'mars' }), 'NOT_FOUND LOCATION_UNKNOWN');
  assert.match(await failureOf({ namespace: 'nobody' }), 'NOT_FOUND NAMESPACE_UNKNOWN');
  const off = await startAdmin(m, { replicate: false });
  assert.match(await failureOf({}, off), 'FAILED_PRECONDITION REPLICATION_OFF');
  assert.match(await failureOf({}, off), 'FEATURE_STORAGE_REPLICATION');
});

test.run();
