/**
 * Where the bytes of a copy come from, with real processes: the preferred source of those that are healthy, counted by the
 * nodes themselves; and one that is healthy but slow holds up nothing that another one has.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as assert from 'uvu/assert';
import { ReplicationSignal } from '../../lib/metadata/notify.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { parseRepository } from '../../lib/oci/name.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { CrossingStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { readMessages } from '../../lib/rpc/stream.js';
import { blobFile } from '../support/blob-file.js';
import { type Metadata, openMetadata, quiet } from '../support/clients.js';
import { freePort } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { Regions } from '../support/regions.js';
import { suite } from '../support/suite.js';
import { type Throttled, throttled } from '../support/throttle.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('ci: sources of copies', { timeoutMs: 120_000, fileTimeoutMs: 300_000 });
const MiB = 1024 * 1024;
const CONCURRENCY = 2;
const SMALL = 20_000;
const LARGE = 2 * MiB;
/** Of a source that answers, and delivers next to nothing. */
const SLOW_BYTES_PER_SECOND = 4_096;
/** Of a source that takes about a second to say that it is healthy. */
const LATE_BYTES_PER_SECOND = 1_500;
const repository = parseRepository('team/app') ?? ('' as never);
const folders = new Map<string, string>();
const nodeMetrics = new Map<string, string>();
let regions: Regions;
let metadata: Metadata;
/** Another way to us, for workers that are given it. */
let slowWay: Throttled;
let worker: StartedProcess | undefined;
let workerAddress = '';
let workerMetrics = '';

test.before(async () => {
  const specs = await Promise.all(
    ['us', 'eu', 'ap'].map(async name => {
      const folder = await temporaryFolder(name);
      const metrics = `127.0.0.1:${await freePort()}`;
      folders.set(`${name}storage`, folder);
      nodeMetrics.set(`${name}storage`, metrics);
      const storage = ['LocalStorage', { storage_path: folder }] as const;
      return { name, storage, runs: [], env: { ENTREPOT_METRICS_LISTEN: metrics } };
    }),
  );
  regions = await Regions.start(specs, { DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: ['apstorage'] });
  metadata = openMetadata(regions.databaseUrl);
  await metadata.places.register(['usstorage', 'eustorage', 'apstorage']);
  await metadata.places.setDefaults(['apstorage'], true);
  slowWay = await throttled({ host: '127.0.0.1', port: await portOf('us') }, SLOW_BYTES_PER_SECOND);
});
test.after.each(async () => {
  slowWay.bytesPerSecond = Number.POSITIVE_INFINITY;
  await worker?.stop();
  await regions.sql('delete from replication');
});

async function portOf(region: string): Promise<number> {
  const { ENTREPOT_STORAGE_PROXY_LISTEN: address = '' } = await regions.environment('storage-proxy', region);
  return Number(address.split(':')[1]);
}

/** Starts ap's worker, and ends the one before; `preference` names the sources in order. */
async function startWorker(preference: readonly string[], more: Record<string, string> = {}): Promise<void> {
  await worker?.stop();
  workerAddress = `127.0.0.1:${await freePort()}`;
  workerMetrics = `127.0.0.1:${await freePort()}`;
  worker = await startProcess({
    name: `worker that prefers ${preference[0]}`,
    script: 'worker/main.js',
    env: {
      ...(await regions.environment('worker', 'ap')),
      QUAY_DISTRIBUTED_STORAGE_PREFERENCE: ['apstorage', ...preference].join(' '),
      ENTREPOT_WORKER_LISTEN: workerAddress,
      ENTREPOT_METRICS_LISTEN: workerMetrics,
      ...more,
    },
    ready: () => checkHealth(workerAddress, '', 1_000),
  });
}

/** Puts new blobs into these locations, as pushes to the first and copies to the others would, and tells the worker. */
async function put(sizes: readonly number[], ...into: string[]): Promise<Digest[]> {
  const digests = await Promise.all(
    sizes.map(async size => {
      const bytes = randomBytes(size);
      const digest = digestOf(bytes);
      for (const location of into) {
        const file = blobFile(folders.get(location) ?? '', digest);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, bytes);
      }
      for (const location of into) await metadata.blobs.record({ repository, digest, size, location, traceId: '' });
      return digest;
    }),
  );
  const signal = new ReplicationSignal(metadata.db, quiet);
  signal.notify();
  await signal.close();
  return digests;
}
function times(count: number, size: number): number[] {
  return Array.from({ length: count }, () => size);
}

/** How many of the blobs ap has. */
async function arrived(digests: readonly Digest[]): Promise<number> {
  const [row] = await regions.sql(
    `select count(*)::int as n from imagestorageplacement p join imagestorage s on s.id = p.storage_id
       join imagestoragelocation l on l.id = p.location_id
      where s.content_checksum = any ($1) and l.name = 'apstorage' and p.verified_at is not null`,
    [digests],
  );
  return Number(row?.n);
}
async function haveArrived(digests: readonly Digest[], what: string): Promise<void> {
  const all = await until(async () => (await arrived(digests)) === digests.length, 60_000);
  assert.ok(all, `${what}: ${await arrived(digests)} of ${digests.length}\n${worker?.log()}`);
}
/** How many of them are being copied, or wait in a worker's hands. */
async function claimed(digests: readonly Digest[]): Promise<number> {
  const [row] = await regions.sql(
    `select count(*)::int as n from replication r join imagestorage s on s.id = r.storage_id
      where s.content_checksum = any ($1) and r.lease_token is not null`,
    [digests],
  );
  return Number(row?.n);
}

/** A value that a process measures; 0 if it has not measured it yet. */
async function metric(address: string, line: string): Promise<number> {
  const text = await (await fetch(`http://${address}/metrics`)).text();
  const found = text.split('\n').find(each => each.startsWith(`${line} `));
  return found === undefined ? 0 : Number(found.slice(line.length + 1));
}
/** What a location's node says that it has given out, or taken in. */
function moved(location: string, direction: 'read' | 'written'): Promise<number> {
  return metric(nodeMetrics.get(location) ?? '', `entrepot_store_bytes_total{direction="${direction}"}`);
}
const given = (location: string) => moved(location, 'read');
/** Copies that the worker says it has made. */
function made(source: string, size: string): Promise<number> {
  const labels = `source="${source}",target="apstorage",size="${size}"`;
  return metric(workerMetrics, `entrepot_replication_lag_seconds_count{${labels}}`);
}
async function isUsable(location: string): Promise<boolean> {
  return (await metric(workerMetrics, `entrepot_location_usable{location="${location}",need="read"}`)) === 1;
}

/** Runs `work`, after which these bytes must have come from the one, and nothing from the other. */
async function comeFrom(from: string, notFrom: string, bytes: number, work: () => Promise<void>): Promise<void> {
  const before = [await given(from), await given(notFrom)];
  await work();
  const [got = 0, other = 0] = [(await given(from)) - (before[0] ?? 0), (await given(notFrom)) - (before[1] ?? 0)];
  assert.ok(got >= bytes, `${got} of ${bytes} bytes came from ${from}`);
  assert.is(other, 0, `bytes came from ${notFrom}`);
}

test('the bytes come from the first of the preference that is healthy, whatever else has them', async () => {
  const sizes = [...times(30, SMALL), ...times(4, LARGE)];
  const bytes = sizes.reduce((sum, size) => sum + size, 0);

  // Filed under us, which has them first.
  let blobs = await put(sizes, 'usstorage', 'eustorage');
  await comeFrom('eustorage', 'usstorage', bytes, async () => {
    const taken = await moved('apstorage', 'written');
    await startWorker(['eustorage', 'usstorage']);
    await haveArrived(blobs, 'from eu');
    assert.is((await moved('apstorage', 'written')) - taken, bytes);
  });

  regions.part('storage-proxy', 'eu').kill('SIGKILL');
  await regions.part('storage-proxy', 'eu').exited;
  const before = await given('usstorage');
  blobs = await put(sizes, 'usstorage', 'eustorage');
  await haveArrived(blobs, 'from us, while eu is away');
  assert.ok((await given('usstorage')) - before >= bytes);

  await regions.startPart('storage-proxy', 'eu');
  assert.ok(await until(() => isUsable('eustorage'), 30_000));
  await comeFrom('eustorage', 'usstorage', bytes, async () => {
    blobs = await put(sizes, 'eustorage', 'usstorage');
    await haveArrived(blobs, 'from eu again');
  });

  await worker?.stop();
  blobs = await put(sizes, 'eustorage', 'usstorage');
  await comeFrom('usstorage', 'eustorage', bytes, async () => {
    await startWorker(['usstorage', 'eustorage']);
    await haveArrived(blobs, 'from us, by the other order');
  });
});

test('a worker that starts waits for what a source says of itself, and does not turn to the next at once', async () => {
  slowWay.bytesPerSecond = LATE_BYTES_PER_SECOND;
  // Filed under eu, which is known to be healthy long before.
  const blobs = await put(times(30, SMALL), 'eustorage', 'usstorage');
  await comeFrom('usstorage', 'eustorage', 30 * SMALL, async () => {
    await startWorker(['usstorage', 'eustorage'], { ENTREPOT_LOCATIONS: await locationsWithSlowUs() });
    assert.ok(await until(() => isUsable('usstorage'), 10_000));
    slowWay.bytesPerSecond = Number.POSITIVE_INFINITY;
    await haveArrived(blobs, 'from us');
  });
});

test('a source that is healthy and slow fills the slots of its own pair, and holds up nothing that another one has', async () => {
  slowWay.bytesPerSecond = SLOW_BYTES_PER_SECOND;
  // More than its slots take: two batches run and two wait, and two large blobs run.
  const onlyUs = { small: await put(times(16, MiB), 'usstorage'), large: await put(times(4, LARGE), 'usstorage') };
  const all = [...onlyUs.small, ...onlyUs.large];
  await startWorker(['usstorage', 'eustorage'], {
    ENTREPOT_WORKER_CONCURRENCY: String(CONCURRENCY),
    ENTREPOT_LOCATIONS: await locationsWithSlowUs(),
  });
  const isFull = async () => (await claimed(onlyUs.small)) === 12 && (await claimed(onlyUs.large)) === CONCURRENCY;
  assert.ok(await until(isFull, 30_000), `${await claimed(onlyUs.small)} and ${await claimed(onlyUs.large)} claimed`);

  const sizes = [...times(40, SMALL), ...times(6, LARGE)];
  const both = await put(sizes, 'usstorage', 'eustorage');
  const onlyEu = await put(sizes, 'eustorage');
  await haveArrived([...both, ...onlyEu], 'what eu has');
  assert.is(await arrived(all), 0, 'long before anything of us');
  assert.ok(await isUsable('usstorage'), 'us is healthy all the time');
  assert.ok((await claimed(onlyUs.small)) <= 12 && (await claimed(onlyUs.large)) <= CONCURRENCY);
  assert.is(await metric(workerMetrics, 'entrepot_replication_missing_blobs{location="apstorage"}'), all.length);
  assert.equal([await made('eustorage', 'small'), await made('eustorage', 'medium')], [80, 12]);
  assert.equal([await made('usstorage', 'small'), await made('usstorage', 'medium')], [0, 0]);

  slowWay.bytesPerSecond = Number.POSITIVE_INFINITY;
  await haveArrived(all, 'what only us has');
  assert.ok(await until(async () => (await made('usstorage', 'small')) === 16, 10_000));
  assert.ok(await until(async () => (await made('usstorage', 'medium')) === 4, 10_000));
});

test('a copy that somebody asks for comes from the first of the preference, too, and counts for it', async () => {
  const [digest = '' as Digest] = await put([LARGE], 'eustorage', 'usstorage');
  await regions.sql("update replication set next_attempt_at = now() + interval '1 hour'");
  await comeFrom('usstorage', 'eustorage', LARGE, async () => {
    await startWorker(['usstorage', 'eustorage']);
    assert.ok(await until(async () => (await isUsable('usstorage')) && (await isUsable('eustorage')), 20_000));
    const stub = new CrossingStub(...Security.local.dial(workerAddress, 'worker', channelOptions(NEAR_WINDOW)));
    try {
      const whole = { digest, location: 'apstorage', size: LARGE, offset: 0, limit: LARGE, patienceMs: 10_000 };
      const call = stub.follow({ ...whole, holders: ['usstorage', 'eustorage'] });
      for await (const _ of readMessages(call));
      await haveArrived([digest], 'asked for');
    } finally {
      stub.close();
    }
  });
  assert.ok(await until(async () => (await made('usstorage', 'medium')) === 1, 10_000));
  assert.is(await made('eustorage', 'medium'), 0);
});

/** As the configuration of all has it, but that the way to us is the slow one. */
async function locationsWithSlowUs(): Promise<string> {
  const ports = { usstorage: slowWay.port, eustorage: await portOf('eu'), apstorage: await portOf('ap') };
  return JSON.stringify(
    Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, { nodes: [`127.0.0.1:${port}`] }])),
  );
}

test.run();
