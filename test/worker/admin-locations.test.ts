/** ListLocations: exact counts, who lives, and how they were configured. */
import { randomUUID } from 'node:crypto';
import * as assert from 'uvu/assert';
import { fingerprint } from '../../lib/config/fingerprint.js';
import { Counts } from '../../lib/metadata/counts.js';
import { Presence } from '../../lib/metadata/presence.js';
import { Processes, type ProcessRow } from '../../lib/metadata/processes.js';
import { Workers } from '../../lib/metadata/workers.js';
import type { Digest } from '../../lib/oci/digest.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { ListLocationsResponse__Output } from '../../proto/generated/entrepot/admin/v1/ListLocationsResponse.js';
import { call, startAdmin } from '../support/admin.js';
import { freshMetadata, type Metadata, quiet } from '../support/clients.js';
import { copied, newRepository, pushed, requeued } from '../support/rows.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: the locations, as they are listed');
let m: Metadata;
let admin: AdminClient;

test.before(async () => {
  m = await freshMetadata();
  await requeued(m);
  admin = await startAdmin(m);
});

function list(): Promise<ListLocationsResponse__Output> {
  return call(admin.ListLocations.bind(admin), {});
}
async function location(name: string) {
  const found = (await list()).locations.find(each => each.name === name);
  if (!found) throw new Error(`no ${name}`);
  return found;
}

test('what is there and what is missing, exactly, through pushes, copies and damage, folded or not', async () => {
  assert.is((await list()).inSync, true);
  const digests = await Promise.all(Array.from({ length: 150 }, () => pushed(m, newRepository())));
  const counts = async () => {
    const [eu, us] = [await location('eustorage'), await location('usstorage')];
    return [us, eu].map(each => [each.blobs, each.bytes, each.missing, each.missingBytes, each.unverified]);
  };
  const before = [
    [150, 1_050, 0, 0, 0],
    [0, 0, 150, 1_050, 0],
  ];
  assert.equal(await counts(), before);
  assert.is((await list()).inSync, false);
  assert.is(await new Counts(m.db).fold(), false);
  const [rows] = await m.db.query('select count(*)::int as n from locationcount');
  assert.is(rows?.n, 2, 'folded');
  assert.equal(await counts(), before);
  await copied(m, 'eustorage', digests.slice(0, 100));
  await m.replication.distrust(digests[0] as Digest, 'eustorage', 'its bytes are wrong');
  await m.replication.distrust(digests[149] as Digest, 'usstorage', 'the last one');
  assert.equal(await counts(), [
    [150, 1_050, 1, 7, 1],
    [99, 693, 51, 357, 0],
  ]);
  const eu = await location('eustorage');
  assert.is(eu.notConfigured, true, 'this worker has none in its configuration');
  assert.is(eu.lastError, 'its bytes are wrong');
  assert.ok(eu.oldestMissingMs > 0 && eu.oldestMissingMs < 60_000);
  await copied(m, 'eustorage');
  await copied(m, 'usstorage');
  assert.equal((await list()).inSync, true);
  assert.is((await location('eustorage')).oldestMissingMs, 0);
  assert.is((await location('eustorage')).lastError, '');
});

test('not in sync: a change that is still being queued, and pushes without replication', async () => {
  await m.places.setDefaults(['usstorage'], true);
  const { openChanges, inSync, locations } = await list();
  assert.equal([openChanges, inSync], [1, false]);
  assert.equal(
    locations.map(each => [each.name, each.isDefault, each.state]),
    [
      ['eustorage', false, 'LOCATION_STATE_ACTIVE'],
      ['usstorage', true, 'LOCATION_STATE_ACTIVE'],
    ],
  );
  await m.places.setDefaults(['usstorage', 'eustorage'], false);
  assert.is((await list()).openChanges, 2);
  await m.requeue.closeGap();
  await requeued(m);
  assert.equal((await list()).inSync, true);
});

test('limits, and the workers that copy to it: those of other regions when its own are dead', async () => {
  const workers = new Workers(m.db);
  await workers.setLimits('eustorage', { concurrency: 3, bytesPerSecond: undefined });
  const announce = (address: string, locations: string[]) =>
    workers.announce({ id: randomUUID(), address, locations, knows: ['usstorage', 'eustorage'] });
  await announce('us:7090', ['usstorage']);
  const alone = await location('eustorage');
  assert.equal([alone.workers, alone.takenOver], [['us:7090'], true]);
  assert.equal(alone.limits, { concurrency: 3, bytesPerSecond: 0 });
  await announce('eu:7090', ['eustorage']);
  const own = await location('eustorage');
  assert.equal([own.workers, own.takenOver], [['eu:7090'], false]);
});

const SELF: ProcessRow = {
  id: randomUUID(),
  role: 'gateway',
  address: 'us:8080',
  version: '1.2.3',
  configHash: 'aaaa',
  locations: ['usstorage'],
  defaults: ['usstorage'],
};

test('the processes that live, until they end; and whether they were configured differently', async () => {
  const processes = new Processes(m.db);
  const begin = (self: Partial<ProcessRow>) =>
    Presence.begin({ processes, self: { ...SELF, id: randomUUID(), ...self }, log: quiet });
  const [gateway, worker] = [await begin({}), await begin({ role: 'worker', address: 'us:7090' })];
  const both = await list();
  assert.equal(
    both.processes.map(({ role, address, version, configHash }) => [role, address, version, configHash]),
    [
      ['gateway', 'us:8080', '1.2.3', 'aaaa'],
      ['worker', 'us:7090', '1.2.3', 'aaaa'],
    ],
  );
  assert.ok(Math.abs((both.processes[0]?.startedAt ?? 0) - Date.now()) < 60_000);
  assert.is(both.configurationsDiffer, false);
  const other = await begin({ configHash: 'bbbb' });
  assert.is((await list()).configurationsDiffer, true);
  await Promise.all([gateway, worker, other].map(each => each.close()));
  assert.equal((await list()).processes, []);
});

test('a process that died is no longer listed after 15 seconds, and one that lives renews its row', async () => {
  const processes = new Processes(m.db);
  const presence = await Presence.begin({ processes, self: SELF, log: quiet });
  await m.db.query(`update process set lease_until = now() - interval '1 second'`);
  assert.equal(await processes.living(), []);
  assert.ok(await until(async () => (await processes.living()).length === 1, 20_000));
  await presence.close();
});

test('the hash is of what should be the same everywhere, and of nothing else', () => {
  const config = {
    locations: ['usstorage', 'eustorage'].map(name => ({ name, nodes: [] })),
    defaultLocations: ['usstorage', 'eustorage'],
    replication: true,
    writeQuorum: 1,
    writeQuorumSeconds: 60,
    libraryNamespace: 'library',
    maximumLayerSize: 1,
    maximumManifestSize: 2,
    uploadExpiryMinutes: 3,
    sparseImages: false,
  };
  const same = fingerprint(config);
  assert.match(same, /^[0-9a-f]{16}$/);
  assert.is(fingerprint({ ...config, defaultLocations: config.defaultLocations.toReversed() }), same);
  const nodes = config.locations.map(each => ({ ...each, nodes: ['elsewhere:7070'] }));
  assert.is(fingerprint({ ...config, locations: nodes }), same);
  const others = [
    { locations: config.locations.toReversed() },
    { locations: config.locations.slice(1) },
    { defaultLocations: ['usstorage'] },
    { replication: false },
    { writeQuorum: 2 },
    { writeQuorumSeconds: 61 },
    { libraryNamespace: 'main' },
    { maximumLayerSize: 4 },
    { maximumManifestSize: 4 },
    { uploadExpiryMinutes: 4 },
    { sparseImages: true },
  ];
  assert.is(new Set([same, ...others.map(each => fingerprint({ ...config, ...each }))]).size, others.length + 1);
});

test.run();
