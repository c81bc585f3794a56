/** Every command of `entrepot` that asks the Admin service, on a running registry of two regions with a third location. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { blobFile } from '../support/blob-file.js';
import { command } from '../support/command-line.js';
import { type EntrepotOptions, startEntrepot } from '../support/entrepot.js';
import { type OciClient, ociClient, sha256 } from '../support/oci-client.js';
import { freePort } from '../support/ports.js';
import { startRedis } from '../support/redis.js';
import { Regions } from '../support/regions.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('the commands, on a running registry', { needs: ['script', 'redis-server'], timeoutMs: 60_000 });

let regions: Regions;
let us: OciClient;
let storage: string;
let env: Record<string, string>;

test.before(async () => {
  storage = await temporaryFolder('storage');
  for (const name of ['us', 'eu', 'ap']) await mkdir(join(storage, name));
  const redisPort = await freePort();
  await startRedis(redisPort);
  const region = (name: string, runs: readonly ('worker' | 'gateway')[]) => ({
    ...{ name, runs },
    storage: ['LocalStorage', { storage_path: join(storage, name) }] as const,
  });
  // The worker of us copies to the third location, too: nobody has to take it over first.
  const ofBoth = { ENTREPOT_WORKER_LOCATIONS: '[usstorage, apstorage]' };
  regions = await Regions.start(
    [{ ...region('us', ['worker', 'gateway']), env: ofBoth }, region('eu', ['worker']), region('ap', [])],
    {
      DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: ['usstorage', 'eustorage'],
      USER_EVENTS_REDIS: { host: '127.0.0.1', port: redisPort },
    },
  );
  env = await regions.environment('gateway', 'us');
  us = ociClient(regions.gateway('us'));
  atEnd(() => us.close());
});

/** Runs the built command in a gateway's environment, to its end. */
function entrepot(args: readonly string[], options: Partial<EntrepotOptions> = {}) {
  return startEntrepot(args, { env, ...options }).ended;
}

/** Runs a command that must go well; returns its lines. */
async function done(args: readonly string[], options: Partial<EntrepotOptions> = {}): Promise<readonly string[]> {
  const { status, stdout, stderr, lines } = await entrepot(args, options);
  assert.is(status, 0, `${args.join(' ')}:\n${stdout}${stderr}`);
  return lines;
}

/**
 * The same in this process, for a command that has been run as a process of its own before: those take their time. Returns
 * its lines.
 */
async function again(args: readonly string[]): Promise<readonly string[]> {
  const { status, stdout, stderr, lines } = await command(args, { env });
  assert.is(status, 0, `${args.join(' ')}:\n${stdout}${stderr}`);
  return lines;
}

/** Where a region keeps a blob. */
function fileOf(region: string, digest: string): string {
  return blobFile(join(storage, region), digest);
}

test('found from the environment of any process: a worker, a gateway, a storage-proxy', async () => {
  for (const role of ['worker', 'gateway', 'storage-proxy'] as const) {
    const { status, lines } = await command(['status'], { env: await regions.environment(role, 'eu') });
    assert.is(status, 0);
    assert.match(lines[0] ?? '', /^LOCATION +ENGINE +STATE/);
    assert.match(lines.join('\n'), /^eustorage +LocalStorage +active +ok /m);
    assert.match(lines.join('\n'), /^apstorage \(not default\) +LocalStorage +active +ok /m);
  }
});

test('namespace, pause, limits, status, resume', async () => {
  await done(['namespace', 'demo', '--locations', 'apstorage']);
  await done(['pause', 'eustorage']);
  await done(['limits', 'eustorage', '--concurrency', '4', '--bytes-per-second', '500M']);
  await us.pushImage('demo/hello', '1', [randomBytes(3_000_000), randomBytes(1_000)]);
  const behind = await entrepot(['status']);
  assert.is(behind.status, 1);
  assert.match(behind.stdout, /^eustorage +LocalStorage +active, paused +ok .* 4 at a time, 500 MiB\/s /m);
  assert.match(behind.lines.at(-1) ?? '', /^Not in sync: /);

  await again(['limits', 'eustorage', '--concurrency', '0', '--bytes-per-second', '0']);
  await done(['resume', 'eustorage']);
  assert.ok(await until(async () => (await command(['status'], { env })).status === 0, 20_000));
});

test('watch, image and events: what is missing, until it is there', async () => {
  const events = startEntrepot(['events', '--new', '--location', 'eustorage', '--json'], { env });
  await again(['pause', 'eustorage']);
  const { digest } = await us.pushImage('demo/hello', '2', [randomBytes(2_000_000)]);
  const lacking = await entrepot(['image', 'demo/hello:2']);
  assert.is(lacking.status, 1);
  assert.match(lacking.stdout, /^eustorage +yes +lacks 2 blobs$/m);
  assert.match(lacking.stdout, /^eustorage lacks sha256:[0-9a-f]{64} \(1\.9 MiB\): paused; held by .*usstorage/m);

  const [terminal, pipe] = [true, false].map(inTerminal => startEntrepot(['watch'], { env, terminal: inTerminal }));
  assert.ok(await until(() => /eustorage +\[\.+\] +0 %/.test(terminal?.output() ?? ''), 10_000), terminal?.output());
  assert.ok(await until(() => /^waiting for .*\(.*eustorage 2/m.test(pipe?.output() ?? ''), 10_000), pipe?.output());
  await again(['resume', 'eustorage']);
  for (const watching of [terminal, pipe]) {
    const end = await watching?.ended;
    assert.is(end?.status, 0, end?.stdout);
    assert.match(end?.lines.at(-1) ?? '', 'In sync: every copy that was required at the call is there.');
  }
  assert.not.match(pipe?.output() ?? '', '[.');
  assert.is((await again(['image', `demo/hello@${digest}`])).length, 5);
  assert.ok(await until(() => events.output().includes(digest), 10_000), events.output());
  const arrived = JSON.parse(events.output().trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
  assert.equal([arrived.event, arrived.repository, arrived.tag], ['arrived', 'demo/hello', '2']);
  events.kill('SIGINT');
  assert.is((await events.ended).status, 130);
});

test('backfillreplication and retry', async () => {
  assert.match((await done(['retry'])).join(), 'No copy waits to be tried again.');
  await again(['pause', 'eustorage']);
  await us.pushImage('demo/hello', '3', [randomBytes(5_000)]);
  await regions.sql('delete from replication');
  const dry = await again([
    'backfillreplication',
    '--dry-run',
    '--list',
    '--namespace',
    'demo',
    '--location',
    'eustorage',
  ]);
  assert.is(
    dry.filter(line => /^Would enqueue manifest blob sha256:[0-9a-f]{64} to be replicated to eustorage$/.test(line))
      .length,
    2,
  );
  const queued = await done(['backfillreplication']);
  assert.match(queued.join('\n'), /^eustorage +2 +0 +[0-9]+$/m);
  assert.match((await again(['backfillreplication'])).join('\n'), /^eustorage +0 +2 +[0-9]+$/m);
  await again(['resume', 'eustorage']);
  await again(['watch', '--empty']);
});

test('verify and adopt', async () => {
  const { layers } = await us.pushImage('demo/hello', '4', [randomBytes(100_000)]);
  await again(['watch']);
  await rm(fileOf('eu', layers[0] ?? ''));
  const found = await entrepot(['verify', 'eustorage', '--digest']);
  assert.is(found.status, 1, found.stderr);
  assert.match(found.stdout, new RegExp(`^missing ${layers[0]} \\(98 KiB\\)`, 'm'));
  assert.match(found.lines.at(-1) ?? '', /^[0-9]+ blobs looked at \([0-9.]+ [KM]iB hashed\): 1 missing, 0 corrupt/);
  await again(['watch']);
  await again(['verify', 'eustorage', '--digest']);

  const bytes = randomBytes(2_048);
  const file = fileOf('eu', sha256(bytes));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, bytes);
  assert.match(
    (await done(['adopt', 'eustorage'])).at(-1) ?? '',
    /objects looked at: 1 adopted \(2\.0 KiB\), [0-9]+ known/,
  );
  assert.equal(await again(['adopt', 'eustorage', '--release']), ['1 blob that nobody refers to: let go of.']);
});

test('mode: pushes are refused, and taken again', async () => {
  await done(['mode', 'no-pushes', '--reason', 'moving']);
  const push = () => us.request('POST', '/v2/demo/mode/blobs/uploads/');
  assert.ok(await until(async () => (await push()).status !== 202, 10_000));
  assert.match((await push()).body.toString(), 'moving');
  assert.match((await again(['status'])).join('\n'), /The registry takes no pushes \(moving\)/);
  await again(['mode', 'normal']);
  assert.ok(await until(async () => (await push()).status === 202, 10_000));
});

test('the worker that is asked dies amid a watch, which goes on at the other one', async () => {
  await again(['pause', 'eustorage']);
  try {
    await us.pushImage('demo/hello', 'before', [randomBytes(2_000)]);
    const watching = startEntrepot(['watch', '--json'], { env });
    assert.ok(await until(() => watching.output().includes('"progress"'), 10_000));
    // What is pushed now is none of its business, also where it goes on.
    await us.pushImage('demo/hello', 'after', [randomBytes(2_000)]);
    regions.part('worker', 'us').kill('SIGKILL');
    assert.ok(await until(() => watching.output().includes('"goingOn"'), 20_000), watching.output());
    await regions.sql(
      `delete from replication r using manifestblob b, tag t
        where r.storage_id = b.blob_id and t.manifest_id = b.manifest_id and t.name = 'before'`,
    );
    const { status, lines } = await watching.ended;
    assert.is(status, 0);
    const progress = lines.map(line => JSON.parse(line)).filter(({ event }) => event === 'progress');
    assert.is(new Set(progress.map(({ upTo }) => upTo)).size, 1);
  } finally {
    await again(['resume', 'eustorage']);
    await regions.startPart('worker', 'us');
  }
});

test('removelocation: asks, refuses a default location, removes another one, with bars in a terminal', async () => {
  const refused = await entrepot(['removelocation', 'eustorage'], { input: 'y\n' });
  assert.is(refused.status, 1);
  assert.match(refused.stderr, /DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS/);
  assert.is((await command(['removelocation', 'apstorage'], { env, input: 'n\n' })).status, 1);
  assert.match(
    (await again(['removelocation', 'apstorage', '--dry-run'])).join('\n'),
    'Would delete location apstorage',
  );

  const { status, stdout } = await entrepot(['removelocation', 'apstorage', '--yes'], { terminal: true });
  assert.is(status, 0, stdout);
  assert.match(stdout, /drain +\[[#.]+\]/);
  assert.match(stdout, /Deleted placement [0-9]+\r?\n/);
  assert.match(stdout, /Deleted location apstorage\r?\n$/);
  // Other copies may still be on their way: 1 is as good as 0 here.
  assert.not.match((await command(['status'], { env })).stdout, 'apstorage');
  assert.is((await command(['pause', 'apstorage'], { env })).status, 1);
});

test('Ctrl-C: 130, and nothing is half-done', async () => {
  const running = startEntrepot(['status', '--watch'], { env });
  assert.ok(await until(() => running.output().includes('LOCATION'), 10_000));
  running.kill('SIGINT');
  const { status, stderr } = await running.ended;
  assert.is(status, 130);
  assert.match(stderr, 'Nothing is left half-done');
});

test('config check --live: what is there, and all that is not, by key', async () => {
  const good = await done(['config', 'check', '--live', '--role', 'worker']);
  for (const expected of [
    /database +PostgreSQL [0-9]/,
    /LISTEN +notifications arrive/,
    /Redis +[0-9.]+ answers/,
    /worker +127\.0\.0\.1:[0-9]+ answers/,
  ])
    assert.match(good.join('\n'), expected);
  assert.match(good.join('\n'), /^ {2}eustorage +127\.0\.0\.1:[0-9]+: LocalStorage, [0-9.]+; reads and writes$/m);

  const { ENTREPOT_LOCATIONS: locations } = parse(await readFile(env.ENTREPOT_CONFIG ?? '', 'utf8')) as {
    ENTREPOT_LOCATIONS: Record<string, unknown>;
  };
  const mistaken = {
    ...locations,
    usstorage: { nodes: ['127.0.0.1:1'] },
    apstorage: locations.eustorage,
    eustorage: locations.usstorage,
  };
  const wrong = await entrepot(['config', 'check', '--live', '--role', 'worker'], {
    env: { ...env, ENTREPOT_LOCATIONS: JSON.stringify(mistaken) },
  });
  assert.is(wrong.status, 1);
  assert.match(wrong.stderr, /^.*config\.yaml: 3 problems$/m);
  assert.match(wrong.stderr, /ENTREPOT_LOCATIONS\.usstorage\.nodes\[0\]: the node at 127\.0\.0\.1:1 does not answer: /);
  assert.match(
    wrong.stderr,
    /ENTREPOT_LOCATIONS\.eustorage\.nodes\[0\]: the node at .* serves usstorage, not eustorage/,
  );
});

test.run();
