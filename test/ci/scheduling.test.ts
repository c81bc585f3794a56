/** Many locations and many workers, as real processes: who is away holds up nobody else, and somebody does every copy. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Locations } from '../../lib/locations/locations.js';
import { ReplicationSignal } from '../../lib/metadata/notify.js';
import { Workers } from '../../lib/metadata/workers.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { parseRepository } from '../../lib/oci/name.js';
import { isTransient } from '../../lib/rpc/errors.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { pieces } from '../support/bytes.js';
import { type Metadata, openMetadata, quiet } from '../support/clients.js';
import { freePort, freePorts } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('ci: scheduling', { timeoutMs: 120_000, fileTimeoutMs: 400_000 });
const NAMES = ['usstorage', 'eustorage', 'apstorage'];
const MiB = 1024 * 1024;
const repository = parseRepository('team/app') ?? ('' as never);
const proxies = new Map<string, StartedProcess>();
let stack: Stack;
let metadata: Metadata;
let locations: Locations;
let workers: StartedProcess[] = [];
const metricsAddress = new Map<StartedProcess, string>();

test.before(async () => {
  const ports = await freePorts(NAMES.length);
  const nodes = NAMES.map((name, index) => ({ name, nodes: [`127.0.0.1:${ports[index]}`] }));
  const folders = await Promise.all(NAMES.map(temporaryFolder));
  const config = {
    DISTRIBUTED_STORAGE_CONFIG: Object.fromEntries(
      NAMES.map((name, index) => [name, ['LocalStorage', { storage_path: folders[index] }]]),
    ),
    DISTRIBUTED_STORAGE_PREFERENCE: NAMES,
    ENTREPOT_LOCATIONS: Object.fromEntries(nodes.map(each => [each.name, { nodes: each.nodes }])),
  };
  stack = await startStack({ parts: [], config });
  await Promise.all(
    nodes.map(async ({ name, nodes: [address = ''] }) => {
      const env = { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: name, ENTREPOT_STORAGE_PROXY_LISTEN: address };
      const ready = () => checkHealth(address, 'entrepot.storage.write', 1_000);
      proxies.set(
        name,
        await startProcess({ name, script: 'storage-proxy/main.js', config: stack.config, env, ready }),
      );
    }),
  );
  metadata = openMetadata(stack.databaseUrl);
  await metadata.places.register(NAMES);
  await metadata.places.setDefaults(NAMES, true);
  locations = new Locations({ locations: nodes, preference: NAMES, identify: async () => true, log: quiet });
  atEnd(() => locations.close());
});
test.after.each(async () => {
  await Promise.all(workers.map(worker => worker.stop()));
  workers = [];
  await stack.sql('delete from replication');
  await stack.sql('delete from worker');
  await stack.sql('delete from locationlimit');
});

async function startWorker(...its: string[]): Promise<StartedProcess> {
  const address = `127.0.0.1:${await freePort()}`;
  const metrics = `127.0.0.1:${await freePort()}`;
  const worker = await startProcess({
    name: `worker ${its}`,
    script: 'worker/main.js',
    config: {
      ...stack.config,
      ENTREPOT_WORKER_LOCATIONS: its,
      ENTREPOT_WORKER_CONCURRENCY: 2,
      ENTREPOT_METRICS_LISTEN: metrics,
    },
    env: { ENTREPOT_WORKER_LISTEN: address },
    ready: () => checkHealth(address, '', 1_000),
  });
  workers.push(worker);
  metricsAddress.set(worker, metrics);
  return worker;
}
function proxy(name: string): StartedProcess {
  const found = proxies.get(name);
  if (!found) throw new Error(`no ${name}`);
  return found;
}
/** Puts a blob into these locations, as a push to the first and copies to the others would. */
async function put(bytes: Buffer, ...into: string[]): Promise<Digest> {
  const digest = digestOf(bytes);
  for (const name of into) {
    const store = locations.get(name)?.store;
    if (!store) throw new Error(`no ${name}`);
    const isStored = async () => {
      try {
        const begun = await store.begin({ digest });
        const end = await store.append(begun.session, pieces(bytes, 65_536), () => {});
        await store.commit(end.session, digest);
        return true;
      } catch (error) {
        // A node that is slow to answer on a crowded machine, or has just been woken.
        if (isTransient(error)) return false;
        throw error;
      }
    };
    assert.ok(await until(isStored, 30_000), `${name} does not take a blob`);
    await metadata.blobs.record({ repository, digest, size: bytes.length, location: name, traceId: '' });
  }
  return digest;
}
async function puts(count: number, size: number, ...into: string[]): Promise<Digest[]> {
  const digests: Digest[] = [];
  while (digests.length < count) {
    const some = Array.from({ length: Math.min(40, count - digests.length) }, () => put(randomBytes(size), ...into));
    digests.push(...(await Promise.all(some)));
  }
  return digests;
}

/** How many of the blobs a location has. */
async function arrived(digests: readonly Digest[], location: string): Promise<number> {
  const [row] = await stack.sql(
    `select count(*)::int as n from imagestorageplacement p join imagestorage s on s.id = p.storage_id
       join imagestoragelocation l on l.id = p.location_id
      where s.content_checksum = any ($1) and l.name = $2 and p.verified_at is not null`,
    [digests, location],
  );
  return Number(row?.n);
}
/** The tries that copies to a location have had so far, over all that still wait. */
async function tries(location: string): Promise<number> {
  const [row] = await stack.sql(
    `select coalesce(sum(attempts), 0)::int as n from replication r join imagestoragelocation l on l.id = r.location_id
      where l.name = $1`,
    [location],
  );
  return Number(row?.n);
}

test('a source that does not answer holds up only what it alone has', async () => {
  const onlyUs = [...(await puts(40, 10_000, 'usstorage')), ...(await puts(10, 2 * MiB, 'usstorage'))];
  const both = await puts(10, 10_000, 'usstorage', 'eustorage');
  const onlyEu = [...(await puts(40, 10_000, 'eustorage')), ...(await puts(4, 2 * MiB, 'eustorage'))];
  proxy('usstorage').kill('SIGSTOP');
  try {
    await startWorker('apstorage');
    const there = await until(async () => (await arrived([...onlyEu, ...both], 'apstorage')) === 54, 20_000);
    assert.ok(there, `${await arrived(onlyEu, 'apstorage')} of 44, ${await arrived(both, 'apstorage')} of 10`);
    assert.is(await arrived(onlyUs, 'apstorage'), 0);
    assert.is(await tries('apstorage'), 0, 'what cannot come from anywhere is not tried');
  } finally {
    proxy('usstorage').kill('SIGCONT');
  }
  assert.ok(await until(async () => (await arrived(onlyUs, 'apstorage')) === 50, 20_000));
});

test('a source that stops answering in the middle does so, too', async () => {
  const worker = await startWorker('apstorage');
  const onlyUs = await puts(6, 60 * MiB, 'usstorage');
  assert.ok(await until(async () => (await tries('apstorage')) > 0, 20_000));
  proxy('usstorage').kill('SIGSTOP');
  try {
    const onlyEu = [...(await puts(40, 10_000, 'eustorage')), ...(await puts(4, 2 * MiB, 'eustorage'))];
    assert.ok(await until(async () => (await arrived(onlyEu, 'apstorage')) === 44, 20_000), worker.log());
    await sleep(5_000);
    assert.ok((await tries('apstorage')) <= 2 * onlyUs.length, `${await tries('apstorage')} tries`);
  } finally {
    proxy('usstorage').kill('SIGCONT');
  }
  assert.ok(await until(async () => (await arrived(onlyUs, 'apstorage')) === 6, 40_000));
});

test('a target that does not answer holds up no other, is not tried in vain, and gets its copies once it is back', async () => {
  const worker = await startWorker('usstorage', 'apstorage');
  proxy('apstorage').kill('SIGSTOP');
  let digests: Digest[];
  try {
    const isNoticed = () =>
      worker
        .log()
        .split('\n')
        .some(line => /apstorage.*the storage node cannot be used/.test(line));
    assert.ok(await until(isNoticed, 20_000), worker.log());
    digests = [...(await puts(60, 10_000, 'eustorage')), ...(await puts(10, 2 * MiB, 'eustorage'))];
    assert.ok(await until(async () => (await arrived(digests, 'usstorage')) === 70, 20_000));
    assert.is(await arrived(digests, 'apstorage'), 0);
    assert.is(await tries('apstorage'), 0);
  } finally {
    proxy('apstorage').kill('SIGCONT');
  }
  assert.ok(await until(async () => (await arrived(digests, 'apstorage')) === 70, 30_000));
});

test('two workers of a location share its copies, and make each of them once', async () => {
  const digests = [...(await puts(600, 20_000, 'usstorage')), ...(await puts(60, 3 * MiB, 'usstorage'))];
  await stack.sql("update replication set next_attempt_at = now() + interval '1 hour'");
  const pair = [await startWorker('apstorage'), await startWorker('apstorage')];
  await sleep(3_000);
  await stack.sql('update replication set next_attempt_at = now()');
  const signal = new ReplicationSignal(metadata.db, quiet);
  signal.notify();
  await signal.close();
  assert.ok(await until(async () => (await arrived(digests, 'apstorage')) === 660, 60_000));
  // A line is written after the copy is recorded.
  const linesOf = () => pair.map(worker => copiedLines(worker, 'apstorage'));
  assert.ok(await until(() => linesOf().flat().length >= 660, 10_000));
  const [one = [], two = []] = linesOf();
  assert.equal([...one, ...two].sort(), [...digests].sort());
  assert.ok(one.length > 0 && two.length > 0, `${one.length} and ${two.length} copies`);
});
/** The digests that a worker says it has copied to a location, each as often as it says so. */
function copiedLines(worker: StartedProcess, location: string): string[] {
  return worker
    .log()
    .split('\n')
    .filter(line => line.includes(`"target":"${location}"`) && line.includes('"msg":"copied"'))
    .map(line => /"digest":"([^"]*)"/.exec(line)?.[1] ?? line);
}

test('a limit in the database holds, is kept over a restart, and lifted is lifted', async () => {
  const limits = new Workers(metadata.db);
  await limits.setLimits('apstorage', { concurrency: 1, bytesPerSecond: 4 * MiB });
  let worker = await startWorker('apstorage');
  for (const round of ['first', 'restarted']) {
    const start = performance.now();
    const digests = [await put(randomBytes(12 * MiB), 'usstorage'), await put(randomBytes(8 * MiB), 'eustorage')];
    assert.ok(await until(async () => (await arrived(digests, 'apstorage')) === 2, 40_000), round);
    const seconds = (performance.now() - start) / 1_000;
    assert.ok(seconds >= 3, `${round}: 20 MiB at 4 MiB/s took ${seconds} s`);
    worker.kill('SIGKILL');
    await worker.exited;
    await stack.sql('delete from worker');
    worker = await startWorker('apstorage');
  }
  await limits.setLimits('apstorage', { concurrency: undefined, bytesPerSecond: 1_000 });
  assert.ok(await until(() => worker.log().includes('"location":"apstorage","bytesPerSecond":1000,'), 20_000));
  const slow = [await put(randomBytes(8 * MiB), 'usstorage')];
  assert.not(await until(async () => (await arrived(slow, 'apstorage')) === 1, 3_000));
  await limits.setLimits('apstorage', { concurrency: undefined, bytesPerSecond: undefined });
  assert.ok(await until(async () => (await arrived(slow, 'apstorage')) === 1, 30_000));
});

test('a location whose only worker was killed, and one that never had any, are filled by those that live', async () => {
  const us = await startWorker('usstorage');
  const eu = await startWorker('eustorage');
  const first = await puts(20, 10_000, 'usstorage');
  assert.ok(await until(async () => (await arrived(first, 'eustorage')) === 20, 20_000));
  const loaded = await puts(4, 40 * MiB, 'usstorage');
  eu.kill('SIGKILL');
  await eu.exited;
  const digests = [...first, ...loaded, ...(await puts(20, 10_000, 'usstorage'))];
  for (const location of ['apstorage', 'eustorage']) {
    const all = await until(async () => (await arrived(digests, location)) === digests.length, 60_000);
    assert.ok(all, `${await arrived(digests, location)} of ${digests.length} in ${location}`);
  }
  let metrics = '';
  const isTold = async () => {
    metrics = await (await fetch(`http://${metricsAddress.get(us)}/metrics`)).text();
    return metrics.includes('entrepot_replication_missing_blobs{location="eustorage"} 0');
  };
  assert.ok(await until(isTold, 30_000), metrics);
  assert.match(metrics, 'entrepot_replication_taken_over{location="eustorage"} 1');
  assert.match(
    metrics,
    /entrepot_replication_lag_seconds_count\{source="usstorage",target="apstorage",size="small"\} \d/,
  );

  await startWorker('eustorage');
  const reports = (text: string) =>
    us
      .log()
      .split('\n')
      .filter(line => line.includes(text) && line.includes('eustorage')).length;
  assert.ok(await until(() => reports('it is no longer taken over') === 1, 20_000));
  assert.is(reports('it is taken over until'), 1);
  const mine = await puts(10, 10_000, 'usstorage');
  assert.ok(await until(async () => (await arrived(mine, 'eustorage')) === 10, 20_000));
  assert.is(
    mine.filter(digest => us.log().includes(`"digest":"${digest}","size":10000,"target":"eustorage"`)).length,
    0,
  );
});

test.run();
