import * as assert from 'uvu/assert';
import { fail } from '../../lib/rpc/errors.js';
import type { BackfillReplicationRequest__Output } from '../../proto/generated/entrepot/admin/v1/BackfillReplicationRequest.js';
import type { BackfillReplicationResponse } from '../../proto/generated/entrepot/admin/v1/BackfillReplicationResponse.js';
import type { GetImageReplicationRequest__Output } from '../../proto/generated/entrepot/admin/v1/GetImageReplicationRequest.js';
import type { GetImageReplicationResponse } from '../../proto/generated/entrepot/admin/v1/GetImageReplicationResponse.js';
import type { ListLocationsResponse } from '../../proto/generated/entrepot/admin/v1/ListLocationsResponse.js';
import type { LocationStatus } from '../../proto/generated/entrepot/admin/v1/LocationStatus.js';
import type { RemoveLocationRequest__Output } from '../../proto/generated/entrepot/admin/v1/RemoveLocationRequest.js';
import type { RemoveLocationResponse } from '../../proto/generated/entrepot/admin/v1/RemoveLocationResponse.js';
import type { VerifyLocationResponse } from '../../proto/generated/entrepot/admin/v1/VerifyLocationResponse.js';
import type { WatchReplicationResponse } from '../../proto/generated/entrepot/admin/v1/WatchReplicationResponse.js';
import { command, objects } from '../support/command-line.js';
import { suite } from '../support/suite.js';
import { answers, make, sends, startAdminServer } from './admin-server.js';

const test = suite('cli: what the commands say');

let server: Awaited<ReturnType<typeof startAdminServer>>;
test.before(async () => {
  server = await startAdminServer();
});

const DIGEST = `sha256:${'a1'.repeat(32)}`;
const WARNING =
  'WARNING: This is a destructive operation. Are you sure you want to remove eustorage from your storage locations? [y/n] ';

/** Runs a command against the scripted server. */
function ask(args: readonly string[], options: Parameters<typeof command>[1] = {}) {
  return command([...args, '--server', server.address], options);
}

test('status: a table, what is wrong, and the exit status', async () => {
  const usstorage: LocationStatus = {
    ...{ name: 'usstorage', state: 'LOCATION_STATE_ACTIVE', engine: 'S3Storage', readable: true, writable: true },
    ...{ isDefault: true, blobs: 1_234_567, bytes: 5 * 1024 ** 4, workers: ['10.1.0.5:7090'] },
  };
  const eustorage: LocationStatus = {
    ...{ name: 'eustorage', state: 'LOCATION_STATE_DRAINING', paused: true, readable: true, blobs: 12, bytes: 2048 },
    ...{
      unverified: 3,
      missing: 7,
      missingBytes: 1536,
      oldestMissingMs: 3_600_000 * 5,
      lastError: 'no\u001b[2J space\n',
    },
    ...{ limits: { concurrency: 4, bytesPerSecond: 50 * 1024 ** 2 }, workers: ['10.1.0.5:7090'], takenOver: true },
  };
  const processes = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb'].map((configHash, index) => ({
    ...{ role: 'worker', address: `10.1.0.${index}:7090`, version: '0.1.0', configHash, startedAt: 0 },
  }));
  const answer: ListLocationsResponse = {
    ...{ locations: [eustorage, usstorage], openChanges: 1, processes, configurationsDiffer: true },
    mode: { readOnly: true, reason: 'moving' },
  };
  server.script = { ListLocations: answers(answer).handler };
  const { status, stdout, lines } = await ask(['status']);
  assert.is(status, 1);
  assert.match(lines[0] ?? '', /^LOCATION +ENGINE +STATE +HEALTH +BLOBS +SIZE +MISSING +UNVERIFIED +OLDEST +LIMITS/);
  assert.match(
    stdout,
    /^eustorage \(not default\) +- +draining, paused +read only +12 +2\.0 KiB +7 +3 +5 h +4 at a time, 50 MiB\/s +10\.1\.0\.5:7090 \(taken over\)$/m,
  );
  assert.match(stdout, /^usstorage +S3Storage +active +ok +1,234,567 +5\.0 TiB +0 +0 +- +none +10\.1\.0\.5:7090$/m);
  assert.match(stdout, /^eustorage: the last copy that failed: no \[2J space $/m);
  assert.match(stdout, /^ {2}bbbbbbbbbbbb {2}worker 10\.1\.0\.1:7090 \(0\.1\.0, since 1970-01-01 00:00:00Z\)$/m);
  assert.match(stdout, 'The registry is read-only (moving).');
  assert.is(lines.at(-1), 'Not in sync: 7 copies missing (1.5 KiB).');

  server.script = { ListLocations: answers({ locations: [usstorage], inSync: true }).handler };
  const good = await ask(['status']);
  assert.is(good.status, 0);
  assert.is(good.lines.at(-1), 'In sync: no required copy is missing anywhere.');
  const elsewhere = { ...usstorage, engine: '', readable: false, writable: false, notConfigured: true };
  server.script = { ListLocations: answers({ locations: [elsewhere], inSync: true }).handler };
  const unknown = await ask(['status']);
  assert.match(unknown.stdout, /^usstorage +- +active +not known +1,234,567/m);
  assert.match(unknown.stdout, /^usstorage: the worker that answers does not have it in its configuration/m);

  server.script = { ListLocations: answers({ locations: [usstorage], inSync: true }).handler };
  const [object] = objects(await ask(['status', '--json']));
  assert.is(object?.event, 'status');
  assert.is(object?.inSync, true);
  assert.match(JSON.stringify(object?.locations), '"name":"usstorage","state":"LOCATION_STATE_ACTIVE"');
});

test('backfillreplication: what it asks for, and what it says', async () => {
  const messages: BackfillReplicationResponse[] = [
    { queued: { digest: DIGEST, location: 'eustorage', size: 5 } },
    { progress: { blobsDone: 500, blobsTotal: 1000, locations: [{ location: 'eustorage', queued: 1 }] } },
    {
      progress: {
        ...{ blobsDone: 1000, blobsTotal: 1000, done: true },
        locations: [{ location: 'eustorage', queued: 1, alreadyQueued: 2, inSync: 997 }],
      },
    },
  ];
  const script = sends<BackfillReplicationRequest__Output, BackfillReplicationResponse>(...messages);
  server.script = { BackfillReplication: script.handler };
  const done = await ask(['backfillreplication', '--location', 'eustorage', '--namespace', 'demo', '--list']);
  assert.is(done.status, 0, done.stderr);
  assert.equal(done.lines, [
    `Enqueueing manifest blob ${DIGEST} to be replicated to eustorage`,
    '500 of about 1,000 blobs, 1 queued',
    'LOCATION   QUEUED  ALREADY QUEUED  IN SYNC',
    'eustorage       1               2      997',
    '1,000 blobs looked at; 1 copy was queued.',
  ]);
  assert.equal(script.requests, [{ location: 'eustorage', namespace: 'demo', dryRun: false, list: true }]);

  const dry = await ask(['backfillreplication', '--dry-run', '--json']);
  assert.is(script.requests.at(-1)?.dryRun, true);
  assert.equal(
    objects(dry).map(({ event }) => event),
    ['queued', 'progress', 'progress'],
  );
  assert.equal(objects(dry)[0], { event: 'queued', digest: DIGEST, location: 'eustorage', size: 5 });

  server.script = { BackfillReplication: make.serverStream(() => Promise.reject(fail.replicationOff())) };
  const off = await ask(['backfillreplication']);
  assert.is(off.status, 1);
  assert.match(off.stderr, /^entrepot: Storage replication is not enabled: set FEATURE_STORAGE_REPLICATION to true$/m);
});

test('removelocation: asks with the words of Quay, and does nothing without a yes', async () => {
  const script = sends<RemoveLocationRequest__Output, RemoveLocationResponse>(
    { progress: { phase: 'REMOVE_PHASE_DRAINING', onlyCopies: 3, uploads: 1, placements: 9, waitingFor: 'a push' } },
    { deletedPlacement: 17 },
    { deletedPlacement: 18 },
    { deletedLocation: 'eustorage' },
  );
  const ListLocations = answers<unknown, ListLocationsResponse>({ locations: [{ name: 'eustorage' }] }).handler;
  server.script = { RemoveLocation: script.handler, ListLocations };
  const unknown = await ask(['removelocation', 'eustorge'], { input: 'y\n' });
  assert.is(unknown.stdout, '');
  assert.match(unknown.stderr, "there is no location eustorge: 'entrepot status' names");
  for (const input of ['n\n', 'NO\n', 'what\nno\n', '', undefined]) {
    const { status, stdout } = await ask(['removelocation', 'eustorage'], input === undefined ? {} : { input });
    assert.is(status, 1);
    assert.ok(stdout.startsWith(WARNING), stdout);
    assert.match(stdout, /Canceling operation\.\.\.\n$/);
  }
  assert.equal(script.requests, []);

  for (const input of ['y\n', 'perhaps\nYes\n']) {
    const { status, stdout, lines } = await ask(['removelocation', 'eustorage'], { input });
    assert.is(status, 0);
    assert.ok(stdout.startsWith(WARNING));
    assert.equal(lines.slice(1), ['Deleted placement 17', 'Deleted placement 18', 'Deleted location eustorage']);
    assert.match(lines[0] ?? '', /draining: 3 last copies there, 1 upload, 9 records; waiting for a push$/);
  }
  const forScripts = await ask(['removelocation', 'eustorage', '--yes', '--delete-objects', '--json']);
  assert.is(forScripts.status, 0);
  assert.equal(objects(forScripts).slice(1), [
    { event: 'deletedPlacement', id: 17 },
    { event: 'deletedPlacement', id: 18 },
    { event: 'deletedLocation', location: 'eustorage' },
  ]);
  assert.equal(script.requests.at(-1), {
    ...{ location: 'eustorage', confirm: 'eustorage', dryRun: false, force: false, deleteObjects: true, giveUp: false },
  });
});

test('removelocation: a refusal in the words of the service; with --force, what breaks is said before it asks', async () => {
  server.script = {
    RemoveLocation: make.serverStream(() => Promise.reject(fail.refused('3 blobs have their last copy there'))),
  };
  const refused = await ask(['removelocation', 'eustorage', '--yes', '--json']);
  assert.is(refused.status, 1);
  assert.match(refused.stderr, 'entrepot: 3 blobs have their last copy there');
  assert.equal(objects(refused), [
    { event: 'error', exit: 1, reason: 'REFUSED', message: '3 blobs have their last copy there' },
  ]);

  const script = sends<RemoveLocationRequest__Output, RemoveLocationResponse>(
    { broken: { repository: 'demo/hello', tag: '1', manifest: DIGEST, digest: DIGEST } },
    { deletedLocation: 'eustorage' },
  );
  const ListLocations = answers<unknown, ListLocationsResponse>({ locations: [{ name: 'eustorage' }] }).handler;
  server.script = { RemoveLocation: script.handler, ListLocations };
  const { status, stdout } = await ask(['removelocation', 'eustorage', '--force'], { input: 'n\n' });
  assert.is(status, 1);
  assert.ok(stdout.indexOf(`Would break demo/hello:1, unless ${DIGEST}`) < stdout.indexOf(WARNING), stdout);
  assert.match(stdout, 'Would delete location eustorage, and may break the images above');
  assert.equal(
    script.requests.map(({ dryRun, confirm }) => [dryRun, confirm]),
    [[true, '']],
  );
  assert.is((await ask(['removelocation', 'eustorage', '--dry-run'])).status, 1);
  assert.is((await ask(['removelocation', 'eustorage', '--dry-run', '--force'])).status, 0);
});

test('watch: 0 only when the service says in sync', async () => {
  const open = { locations: [{ location: 'eustorage', blobs: 2, oldestMissingMs: 5_000 }], openChanges: 1 };
  const inSync = { locations: [{ location: 'eustorage', blobs: 0 }], inSync: true };
  server.script = { WatchReplication: sends<unknown, WatchReplicationResponse>(open, inSync).handler };
  const done = await ask(['watch']);
  assert.is(done.status, 0);
  assert.equal(done.lines, [
    'waiting for 2 copies (eustorage 2), 1 change still being queued',
    'In sync: every copy that was required at the call is there.',
  ]);
  server.script = { WatchReplication: sends<unknown, WatchReplicationResponse>(open).handler };
  const cut = await ask(['watch', '--empty']);
  assert.is(cut.status, 1);
  assert.not.match(cut.stdout, 'In sync');
  assert.match(cut.stderr, 'without saying that all is in sync');
});

test('watch says what stands in the way of what is missing, and each thing once', async () => {
  const open = {
    locations: [
      { location: 'eustorage', blobs: 2 },
      { location: 'usstorage', blobs: 0 },
      { location: 'apstorage', blobs: 1 },
    ],
  };
  const locations = [
    { name: 'eustorage', paused: true, writable: false, workers: [], lastError: 'usstorage: no such blob' },
    { name: 'usstorage', paused: true, writable: true, workers: ['10.1.0.5:7090'] },
    { name: 'apstorage', notConfigured: true, workers: ['10.3.0.5:7090'] },
  ];
  const look = answers<unknown, ListLocationsResponse>({ locations });
  server.script = {
    WatchReplication: sends<unknown, WatchReplicationResponse>(open, open, { inSync: true }).handler,
    ListLocations: look.handler,
  };
  assert.equal((await ask(['watch'])).lines, [
    'waiting for 3 copies (eustorage 2, apstorage 1)',
    "eustorage: copying to it is paused; 'entrepot resume eustorage' goes on with it",
    "eustorage: it cannot be written to now; 'entrepot config check --live' tells why",
    'eustorage: no worker copies to it; start one',
    'eustorage: the last copy that failed: usstorage: no such blob',
    'In sync: every copy that was required at the call is there.',
  ]);
  assert.is(look.requests.length, 1);
});

test('on a terminal progress is drawn in place, in lines that fit; in a pipe there are no bars', async () => {
  const at = (blobs: number) => ({ locations: [{ location: 'eustorage', blobs }], inSync: blobs === 0 });
  server.script = { WatchReplication: sends<unknown, WatchReplicationResponse>(at(4), at(0)).handler };
  const { status, stdout } = await ask(['watch'], { columns: 60 });
  assert.is(status, 0);
  assert.match(stdout, /^eustorage {2}\[\.{24}\] {3}0 % {2}4 copies missi\n/);
  assert.ok(
    stdout.split('\n').every(line => line.length < 60 || line.includes('In sync')),
    stdout,
  );
  assert.match(stdout, '\u001b[1A\u001b[0JIn sync');
  const piped = (await ask(['watch'])).stdout;
  assert.not.match(piped, '\u001b');
  assert.not.match(piped, '[.');
});

test('image: complete or not, and why', async () => {
  const missing = [{ digest: DIGEST, size: 2048, reason: 'failed: no space', attempts: 3, heldBy: ['usstorage'] }];
  const answer: GetImageReplicationResponse = {
    ...{ digest: DIGEST, blobs: 4 },
    locations: [
      { location: 'eustorage', required: true, complete: false, missing, missingCount: 2 },
      { location: 'usstorage', required: true, complete: true },
      { location: 'thirdstorage', required: false, complete: false, missing, missingCount: 4 },
    ],
  };
  const script = answers<GetImageReplicationRequest__Output, GetImageReplicationResponse>(answer);
  server.script = { GetImageReplication: script.handler };
  const { status, lines } = await ask(['image', 'demo/hello:1']);
  assert.is(status, 1);
  assert.equal(lines, [
    `${DIGEST}: 4 blobs`,
    'LOCATION      REQUIRED  IMAGE',
    'eustorage     yes       lacks 2 blobs',
    'usstorage     yes       complete',
    'thirdstorage  no        lacks 4 blobs',
    `eustorage lacks ${DIGEST} (2.0 KiB): failed: no space, 3 tries; held by usstorage`,
    'eustorage lacks 1 more',
  ]);
  await ask(['image', `demo/hello@${DIGEST}`]);
  assert.equal(script.requests, [
    { repository: 'demo/hello', reference: '1' },
    { repository: 'demo/hello', reference: DIGEST },
  ]);
  server.script = {
    GetImageReplication: make.unary(() => Promise.reject(fail.imageUnknown('demo/hello has no tag 1'))),
  };
  assert.is((await ask(['image', 'demo/hello:1'])).status, 1);
});

test('verify: 1 if something was missing or corrupt', async () => {
  const sound = { progress: { blobsDone: 10, blobsTotal: 10, unreferenced: 1, done: true } };
  const finding = { kind: 'FINDING_KIND_CORRUPT', digest: DIGEST, size: 9, detail: 'is copied anew' } as const;
  server.script = { VerifyLocation: sends<unknown, VerifyLocationResponse>(sound).handler };
  assert.is((await ask(['verify', 'eustorage'])).status, 0);
  const damaged = { progress: { ...sound.progress, corrupt: 1, bytesHashed: 4096 } };
  server.script = { VerifyLocation: sends<unknown, VerifyLocationResponse>({ finding }, damaged).handler };
  const { status, stdout } = await ask(['verify', 'eustorage', '--digest', '--sample', '5']);
  assert.is(status, 1);
  assert.match(stdout, `corrupt ${DIGEST} (9 B): is copied anew\n`);
  assert.match(stdout, '10 blobs looked at (4.0 KiB hashed): 0 missing, 1 corrupt, 0 newly verified.\n1 object that');
});

test.run();
