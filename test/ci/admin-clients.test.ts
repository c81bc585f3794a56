/** The Admin service on a running stack, by grpcurl and `buf curl`, by reflection alone: as docs/admin.md shows it. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { operationsText } from '../../deploy/local/screen.js';
import { digestOf } from '../../lib/oci/digest.js';
import { attempt, type CommandEnd, run } from '../support/command.js';
import { findCommand } from '../support/needs.js';
import { ociClient } from '../support/oci-client.js';
import { distFolder } from '../support/process.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('ci: the Admin service by its clients', {
  needs: ['grpcurl'],
  timeoutMs: 60_000,
  fileTimeoutMs: 180_000,
});
const buf = join(resolve(distFolder, '..'), 'node_modules', '.bin', 'buf');
let stack: Stack;
let worker: string;
let digests: string[];

test.before(async () => {
  stack = await startStack();
  worker = `127.0.0.1:${stack.ports['worker-us']}`;
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  digests = await Promise.all(
    Array.from({ length: 20 }, (_, n) => client.pushBlob('team/app', randomBytes(1_000 + n))),
  );
  await stack.replicated();
});

const plain = ['-plaintext', '-emit-defaults'];
const method = (name: string) => `entrepot.admin.v1.Admin/${name}`;

/** The messages that a call answers; each is a JSON object. */
function messagesOf(text: string): Record<string, unknown>[] {
  return text
    .split(/^(?=\{)/m)
    .filter(each => each.trim() !== '')
    .map(each => JSON.parse(each));
}
async function grpcurl(name: string, request: object = {}): Promise<Record<string, unknown>[]> {
  return messagesOf(await run('grpcurl', [...plain, '-d', JSON.stringify(request), worker, method(name)]));
}
function tryGrpcurl(name: string, request: object): Promise<CommandEnd> {
  return attempt('grpcurl', [...plain, '-d', JSON.stringify(request), worker, method(name)]);
}
async function bufCurl(name: string, request: object = {}): Promise<Record<string, unknown>[]> {
  const options = ['curl', '--protocol', 'grpc', '--http2-prior-knowledge', '--emit-defaults'];
  return messagesOf(await run(buf, [...options, '-d', JSON.stringify(request), `http://${worker}/${method(name)}`]));
}

test('grpcurl finds the service, its calls and what they mean', async () => {
  const calls = (await run('grpcurl', [...plain, worker, 'list', 'entrepot.admin.v1.Admin'])).trim().split('\n');
  assert.ok(calls.length >= 15 && calls.includes('entrepot.admin.v1.Admin.BackfillReplication'), calls.join());
  assert.match(await run('grpcurl', [...plain, worker, 'grpc.health.v1.Health/Check']), '"SERVING"');
});

test('the lines that npm start prints work as they stand', async () => {
  const lines = operationsText(worker)
    .split('\n')
    .filter(line => line.includes('grpcurl'));
  const env = { PATH: [dirname(findCommand('grpcurl') ?? ''), process.env.PATH].join(delimiter) };
  const ends: CommandEnd[] = [];
  for (const line of lines) ends.push(await attempt('sh', ['-c', line], { env }));
  const [backfill, watched, removal] = ends;
  assert.match(backfill?.stdout ?? '', '"done": true', backfill?.stderr);
  assert.match(watched?.stdout ?? '', '"inSync": true', watched?.stderr);
  // All processes of this stack have the location among their default ones, and the dry run says so.
  assert.match(removal?.stderr ?? '', 'must have every blob in eustorage');
});

const ways = { grpcurl, 'buf curl': bufCurl };
for (const [way, call] of Object.entries(ways)) {
  test(`${way}: a backfill, watched to its end; the disk then has all of it`, async () => {
    const [status] = await call('ListLocations');
    assert.equal([status?.inSync, status?.configurationsDiffer], [true, false]);
    const locations = status?.locations as Record<string, unknown>[];
    assert.equal(
      locations.map(each => [each.name, each.engine, each.readable, each.writable, each.missing, each.blobs]),
      ['eustorage', 'usstorage'].map(name => [name, 'LocalStorage', true, true, '0', '20']),
    );
    const processes = status?.processes as Record<string, unknown>[];
    assert.equal(
      processes.map(each => each.role),
      ['gateway', 'gateway', 'worker', 'worker'],
    );
    await stack.sql(`delete from imagestorageplacement
                      where location_id = (select id from imagestoragelocation where name = 'eustorage')`);
    const dry = (await call('BackfillReplication', { dryRun: true, list: true })).filter(each => each.queued);
    assert.is(dry.length, 20);
    const done = (await call('BackfillReplication')).at(-1)?.progress as Record<string, unknown>;
    assert.equal(done.done, true);
    assert.equal(done.locations, [
      { location: 'eustorage', queued: '20', alreadyQueued: '0', inSync: '0' },
      { location: 'usstorage', queued: '0', alreadyQueued: '0', inSync: '20' },
    ]);
    const watched = await call('WatchReplication');
    assert.is(watched.at(-1)?.inSync, true);
    assert.ok(watched.slice(0, -1).every(each => !each.inSync));
    assert.equal(await stack.blobsOf('eustorage'), digests.toSorted());
    const placed = await stack.sql(
      'select count(*)::int as n from imagestorageplacement where verified_at is not null',
    );
    assert.is(placed[0]?.n, 40);
  });
}

for (const [way, call] of Object.entries(ways)) {
  test(`${way}: a removal, of a location that the configuration does not have any more`, async () => {
    await stack.sql(`insert into imagestoragelocation (name) values ('apstorage') on conflict do nothing`);
    await stack.sql('delete from removedlocation');
    await stack.sql(`insert into imagestorageplacement (storage_id, location_id, verified_at)
                     select s.id, l.id, now() from imagestorage s, imagestoragelocation l where l.name = 'apstorage'`);
    const records = await stack.sql(`select p.id from imagestorageplacement p join imagestoragelocation l
                                       on l.id = p.location_id where l.name = 'apstorage'`);
    await refused(() => call('RemoveLocation', { location: 'apstorage' }), /confirm/);
    await refused(
      () => call('RemoveLocation', { location: 'usstorage', confirm: 'usstorage' }),
      /must have every blob/,
    );
    const told = await call('RemoveLocation', { location: 'apstorage', confirm: 'apstorage' });
    const deleted = told.flatMap(each => each.deletedPlacement ?? []);
    assert.equal(deleted.sort(), records.map(({ id }) => id).sort());
    assert.is(told.at(-1)?.deletedLocation, 'apstorage');
    const [status] = await call('ListLocations');
    assert.equal([(status?.locations as unknown[] | undefined)?.length, status?.inSync], [2, true]);
  });
}

/** The call ends with an error whose text says that. */
async function refused(call: () => Promise<unknown>, text: RegExp): Promise<void> {
  const error = await call().then(
    () => undefined,
    failure => failure,
  );
  assert.match(String(error), text);
}

test('the other calls, by grpcurl; an error says what was wrong, and its reason is in a trailer', async () => {
  await grpcurl('SetLimits', { location: 'eustorage', limits: { concurrency: 2, bytesPerSecond: 1_000_000 } });
  await grpcurl('SetLimits', { location: 'eustorage', limits: {} });
  await grpcurl('SetNamespaceLocations', { namespace: 'team', locations: ['eustorage'] });
  await grpcurl('SetNamespaceLocations', { namespace: 'team' });
  assert.equal(await grpcurl('RetryReplication', {}), [{ copies: '0' }]);
  const wrong = await tryGrpcurl('PauseLocation', { location: 'mars' });
  assert.match(wrong.stderr, 'NotFound');
  assert.match(wrong.stderr, 'there is no location mars');
  const unknown = await tryGrpcurl('GetImageReplication', { repository: 'team/app', reference: 'v1' });
  assert.match(unknown.stderr, 'has no image v1');
});

test('paused: a copy that runs is given up within 5 seconds, and goes on when the location is resumed', async () => {
  await grpcurl('SetLimits', { location: 'eustorage', limits: { bytesPerSecond: 2_000_000 } });
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  const bytes = randomBytes(30_000_000);
  // The limit must be known by the time that it is needed.
  await new Promise(done => setTimeout(done, 5_000));
  await client.pushBlob('team/app', bytes);
  const running = async () => (await stack.sql('select from replication where lease_token is not null')).length > 0;
  assert.ok(await until(running, 10_000));
  await grpcurl('PauseLocation', { location: 'eustorage' });
  // Five seconds, and what a crowded machine adds: the whole copy would take as long as that limit makes it, 15.
  assert.ok(await until(async () => !(await running()), 10_000));
  const [listed] = await grpcurl('ListLocations');
  const [eu] = (listed?.locations ?? []) as Record<string, unknown>[];
  assert.equal([eu?.paused, eu?.missing, listed?.inSync], [true, '1', false]);
  await grpcurl('SetLimits', { location: 'eustorage', limits: {} });
  await grpcurl('ResumeLocation', { location: 'eustorage' });
  assert.is((await grpcurl('WatchReplication')).at(-1)?.inSync, true);
  const blobs = await readdir(stack.storagePath('eustorage'), { recursive: true });
  assert.ok(blobs.some(path => path.endsWith(digestOf(bytes).slice(7))));
});

test('read-only at run time: no gateway takes a push any more within 5 seconds, and replication goes on', async () => {
  await grpcurl('PauseLocation', { location: 'eustorage' });
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  await client.pushBlob('team/app', randomBytes(5_000));
  await grpcurl('SetMode', { mode: { readOnly: true, reason: 'we move house' } });
  const isRefused = async (url: string) =>
    (await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: 'POST' })).status === 405;
  assert.ok(await until(async () => (await isRefused(stack.us)) && (await isRefused(stack.eu)), 20_000));
  await grpcurl('ResumeLocation', { location: 'eustorage' });
  assert.is((await grpcurl('WatchReplication', { goal: 'WATCH_GOAL_EMPTY' })).at(-1)?.inSync, true);
  await grpcurl('SetMode', { mode: {} });
  assert.ok(await until(async () => !(await isRefused(stack.us)), 20_000));
});

test.run();
