/** GetImageReplication, RetryReplication, WatchEvents, SetMode, and the settings of locations and namespaces. */
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import type { Digest } from '../../lib/oci/digest.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { GetImageReplicationResponse__Output } from '../../proto/generated/entrepot/admin/v1/GetImageReplicationResponse.js';
import type { ListNamespaceLocationsResponse__Output } from '../../proto/generated/entrepot/admin/v1/ListNamespaceLocationsResponse.js';
import type { WatchEventsRequest } from '../../proto/generated/entrepot/admin/v1/WatchEventsRequest.js';
import type { WatchEventsResponse__Output } from '../../proto/generated/entrepot/admin/v1/WatchEventsResponse.js';
import { call, failure, read, startAdmin } from '../support/admin.js';
import { claimAll } from '../support/claims.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import {
  copied,
  emptied,
  type Image,
  imageOf,
  indexOf,
  namespaceOf,
  newDigest,
  newRepository,
  pushed,
  put,
  queued,
  requeued,
} from '../support/rows.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: images, events and settings');
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

function where(repository: string, reference: string): Promise<GetImageReplicationResponse__Output> {
  return call(admin.GetImageReplication.bind(admin), { repository, reference });
}
test('an image: complete, or what is missing in each location, and why', async () => {
  const repo = newRepository();
  const digests = [];
  for (let n = 0; n < 6; n++) digests.push(await pushed(m, repo));
  const [there, busy, failed, waits, unverified, plain] = digests as [Digest, Digest, Digest, Digest, Digest, Digest];
  const image = imageOf(digests);
  await put(m, repo, image, 'v1');
  await copied(m, 'eustorage', [there, unverified]);
  await m.db.query(
    `update imagestorageplacement set verified_at = null where location_id = (select id from imagestoragelocation where name = 'eustorage')
        and storage_id = (select id from imagestorage where content_checksum = $1)`,
    [unverified],
  );
  await m.db.query(
    `insert into replication (storage_id, location_id) select s.id, l.id from imagestorage s, imagestoragelocation l
      where s.content_checksum = $1 and l.name = 'eustorage'`,
    [unverified],
  );
  const jobs = await claimAll(m.replication, 'eustorage');
  for (const job of jobs) {
    if (job.digest === failed) await m.replication.postpone(job, 60_000, 'the disk is full');
    else if (job.digest !== busy) await m.replication.giveBack([job]);
  }
  const found = await where(repo, 'v1');
  assert.equal([found.digest, found.blobs], [image.digest, 6]);
  const shown = (name: string) => {
    const place = found.locations.find(each => each.location === name);
    const reasons = Object.fromEntries(place?.missing.map(each => [each.digest, each.reason]) ?? []);
    return { required: place?.required, complete: place?.complete, count: place?.missingCount, reasons };
  };
  assert.equal(shown('usstorage'), { required: true, complete: true, count: 0, reasons: {} });
  const expected = {
    [busy]: 'being copied',
    [failed]: 'failed: the disk is full',
    [waits]: 'queued',
    [unverified]: 'unverified',
    [plain]: 'queued',
  };
  assert.equal(shown('eustorage'), { required: true, complete: false, count: 5, reasons: expected });
  const nowhere = Object.fromEntries(digests.map(digest => [digest, 'not required']));
  assert.equal(shown('apstorage'), { required: false, complete: false, count: 6, reasons: nowhere });
  const blob = found.locations
    .find(each => each.location === 'eustorage')
    ?.missing.find(each => each.digest === failed);
  assert.equal([blob?.size, blob?.attempts, blob?.heldBy], [7, 1, ['usstorage']]);
  await call(admin.PauseLocation.bind(admin), { location: 'eustorage' });
  const paused = (await where(repo, image.digest)).locations.find(each => each.location === 'eustorage');
  assert.is(paused?.missing.find(each => each.digest === waits)?.reason, 'paused');
  await m.db.query('delete from replication');
  const lost = (await where(repo, image.digest)).locations.find(each => each.location === 'eustorage');
  assert.is(lost?.missing.find(each => each.digest === waits)?.reason, 'not queued yet');
});

test('an index: with its children; at most 100 blobs are listed, all are counted', async () => {
  const repo = newRepository();
  const many = await Promise.all(Array.from({ length: 120 }, () => pushed(m, repo)));
  const children: Image[] = [imageOf(many.slice(0, 60)), imageOf(many.slice(50))];
  for (const child of children) await put(m, repo, child);
  await put(m, repo, indexOf(children), 'all');
  const { blobs, locations } = await where(repo, 'all');
  const eu = locations.find(each => each.location === 'eustorage');
  assert.equal([blobs, eu?.missingCount, eu?.missing.length], [120, 120, 100]);
});

test('an image that is not there', async () => {
  const repo = newRepository();
  await pushed(m, repo);
  assert.match(await failure(where(repo, 'v1')), 'NOT_FOUND IMAGE_UNKNOWN');
  assert.match(await failure(where('nobody/nothing', newDigest())), 'NOT_FOUND IMAGE_UNKNOWN');
  assert.match(await failure(where(repo, 'not a tag')), 'INVALID_ARGUMENT MALFORMED: reference');
  assert.match(await failure(where('NOT A NAME', 'v1')), 'INVALID_ARGUMENT MALFORMED: repository');
});

test('what failed is tried again at once: all, of one location, of one blob; what runs or waits anyway is left alone', async () => {
  const [one, two, three] = await Promise.all(Array.from({ length: 3 }, () => pushed(m, newRepository())));
  const jobs = await claimAll(m.replication, 'eustorage');
  for (const job of jobs.slice(0, 2)) await m.replication.postpone(job, 60_000, 'no');
  const failed = jobs.slice(0, 2).map(job => job.digest);
  assert.is(new Set([one, two, three]).size, 3);
  const retry = async (request: object) => (await call(admin.RetryReplication.bind(admin), request)).copies;
  assert.equal([await retry({ location: 'usstorage' }), await retry({ digest: newDigest() }), signals], [0, 0, 0]);
  assert.equal(
    [await retry({ digest: failed[0] }), await retry({ location: 'eustorage' }), await retry({})],
    [1, 1, 0],
  );
  assert.equal((await claimAll(m.replication, 'eustorage')).map(job => job.digest).sort(), failed.sort());
  assert.is(signals, 2);
  assert.match(await failure(retry({ location: 'mars' })), 'NOT_FOUND LOCATION_UNKNOWN');
  assert.match(await failure(retry({ digest: 'abc' })), 'INVALID_ARGUMENT MALFORMED');
});

test('a paused location: nothing is claimed for it, and all of it when it is resumed', async () => {
  const pause = () => call(admin.PauseLocation.bind(admin), { location: 'eustorage' });
  const resume = () => call(admin.ResumeLocation.bind(admin), { location: 'eustorage' });
  const digest = await pushed(m, newRepository());
  await pause();
  await pause();
  assert.equal(await claimAll(m.replication, 'eustorage'), []);
  assert.is((await m.replication.claimOne(digest, 'eustorage')).kind, 'busy');
  await resume();
  await resume();
  assert.is((await claimAll(m.replication, 'eustorage')).length, 1);
  assert.match(await failure(call(admin.PauseLocation.bind(admin), { location: 'mars' })), 'LOCATION_UNKNOWN');
  assert.match(await failure(call(admin.ResumeLocation.bind(admin), {})), 'MALFORMED: location is missing');
});

test("a namespace's locations: set, replaced, taken away; never one that is unknown or being removed", async () => {
  const repo = newRepository();
  const set = (locations: string[], replace = false) =>
    call(admin.SetNamespaceLocations.bind(admin), { namespace: namespaceOf(repo), locations, replace });
  const listed = (namespace: string) =>
    read<ListNamespaceLocationsResponse__Output>(admin.ListNamespaceLocations.bind(admin)({ namespace }));
  const digest = await pushed(m, repo);
  await set(['apstorage'], true);
  const own = { namespace: namespaceOf(repo), locations: ['apstorage'], replace: true };
  assert.equal(await listed(namespaceOf(repo)), [own]);
  assert.equal(
    (await listed('')).filter(each => each.namespace === own.namespace),
    [own],
  );
  await requeued(m);
  assert.equal([await queued(m, digest), signals], [['apstorage'], 1]);
  await set([]);
  await requeued(m);
  assert.equal(await listed(namespaceOf(repo)), []);
  assert.equal(await queued(m, digest), ['eustorage']);
  assert.match(await failure(set(['apstorage', 'mars'])), 'NOT_FOUND LOCATION_UNKNOWN: there is no location mars');
  assert.match(await failure(set([], true)), 'INVALID_ARGUMENT MALFORMED: locations');
  await m.db.query(`update locationstate set state = 'draining'
                     where location_id = (select id from imagestoragelocation where name = 'apstorage')`);
  assert.match(
    await failure(set(['apstorage'])),
    'FAILED_PRECONDITION REFUSED: the location apstorage is being removed',
  );
  assert.is(await m.namespaces.locations(namespaceOf(repo)), undefined);
  const bad = { namespace: 'a/b', locations: [], replace: false };
  assert.match(await failure(call(admin.SetNamespaceLocations.bind(admin), bad)), 'MALFORMED: namespace');
});

test('what operators change is in the log of the worker that was asked', async () => {
  const lines: string[] = [];
  const log = pino({ base: null, timestamp: false }, { write: line => void lines.push(line.trim()) });
  const here = await startAdmin(m, { log });
  await call(here.PauseLocation.bind(here), { location: 'eustorage' });
  await call(here.ResumeLocation.bind(here), { location: 'eustorage' });
  await call(here.SetLimits.bind(here), { location: 'eustorage', limits: { concurrency: 4 } });
  await call(here.SetLimits.bind(here), { location: 'eustorage' });
  await call(here.SetNamespaceLocations.bind(here), { namespace: 'logged', locations: ['usstorage'] });
  await call(here.SetMode.bind(here), { mode: { pushesDisabled: true, reason: 'we move' } });
  await call(here.SetMode.bind(here), { mode: {} });
  await failure(call(here.PauseLocation.bind(here), { location: 'mars' }));
  assert.equal(
    lines.map(line => JSON.parse(line)).map(({ level, ...rest }) => rest),
    [
      { location: 'eustorage', msg: 'an operator has paused copying to this location' },
      { location: 'eustorage', msg: 'an operator has resumed copying to this location' },
      { location: 'eustorage', concurrency: 4, msg: 'an operator has set the limits of copying to this location' },
      { location: 'eustorage', msg: 'an operator has set the limits of copying to this location' },
      {
        ...{ namespace: 'logged', locations: ['usstorage'], replace: false },
        msg: "an operator has set where a namespace's blobs must be",
      },
      {
        ...{ readOnly: false, pushesDisabled: true, reason: 'we move' },
        msg: 'an operator has set what the registry takes',
      },
      { readOnly: false, pushesDisabled: false, reason: '', msg: 'an operator has set what the registry takes' },
    ],
  );
});

test('the mode: set, and answered as it is in force here', async () => {
  const set = (mode: object) => call(admin.SetMode.bind(admin), { mode });
  const closed = { readOnly: false, pushesDisabled: true, reason: 'we move' };
  assert.equal((await set(closed)).mode, closed);
  assert.equal((await call(admin.ListLocations.bind(admin), {})).mode, closed);
  const configuredMode = { readOnly: true, pushesDisabled: false, reason: 'REGISTRY_STATE is readonly' };
  const other = await startAdmin(m, { configuredMode });
  const open = await call(other.SetMode.bind(other), { mode: {} });
  assert.equal(open.mode, configuredMode);
  assert.equal((await call(admin.ListLocations.bind(admin), {})).mode, {
    readOnly: false,
    pushesDisabled: false,
    reason: '',
  });
  assert.match(await failure(call(admin.SetMode.bind(admin), {})), 'INVALID_ARGUMENT MALFORMED: mode is missing');
  assert.match(await failure(set({ reason: 'two\nlines' })), 'INVALID_ARGUMENT MALFORMED: mode.reason');
});

test('events: from the first one, after one, only new ones, of a repository and of a location; and then those that come', async () => {
  await m.db.query('truncate replicationevent');
  const [one, two] = [newRepository(), newRepository()];
  const pushImage = async (repo = one, tag = 'v1') => {
    const image = imageOf([await pushed(m, repo)]);
    await put(m, repo, image, tag);
    return image.digest;
  };
  const first = await pushImage();
  await pushImage(two, 'v2');
  await copied(m, 'eustorage');
  const events = (request: WatchEventsRequest, most: number) =>
    read<WatchEventsResponse__Output>(admin.WatchEvents(request), most);
  const all = await events({}, 4);
  assert.equal(
    all.map(each => each.id),
    all.map(each => each.id).sort((a, b) => a - b),
  );
  const mine = await events({ repository: one }, 2);
  assert.equal(
    mine.map(each => [each.repository, each.tag, each.digest, each.location]),
    [
      [one, 'v1', first, 'usstorage'],
      [one, 'v1', first, 'eustorage'],
    ],
  );
  assert.ok((mine[1]?.completedAt ?? 0) >= (mine[1]?.pushedAt ?? Number.NaN));
  assert.equal(
    (await events({ location: 'eustorage' }, 2)).map(each => each.location),
    ['eustorage', 'eustorage'],
  );
  assert.is((await events({ afterId: all[2]?.id ?? 0 }, 1))[0]?.id, all[3]?.id);
  // From when on it listens is not told: what is pushed until then is old.
  let heard: Awaited<ReturnType<typeof events>> = [];
  const coming = events({ onlyNew: true, afterId: 1 }, 1).then(found => {
    heard = found;
  });
  const later: string[] = [];
  const push = async () => {
    later.push(await pushImage());
    return heard.length > 0;
  };
  assert.ok(await until(push, 20_000));
  await coming;
  assert.is(heard[0]?.location, 'usstorage');
  assert.ok(later.includes(heard[0]?.digest ?? ''));
  assert.match(await failure(events({ location: 'mars' }, 1)), 'NOT_FOUND LOCATION_UNKNOWN');
  assert.match(await failure(events({ afterId: -1 }, 1)), 'INVALID_ARGUMENT MALFORMED: after_id');
});

test.run();
