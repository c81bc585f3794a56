/**
 * Three regions on three engines: local disk, Ceph RGW, and Swift behind its s3api, the third without a gateway or worker
 * of its own. Then a fourth is added while the others run.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { CEPH_NEEDS, startCeph } from '../stores/ceph.js';
import { makeBucket, radosArguments, type S3Server } from '../stores/store.js';
import { SWIFT_NEEDS, startSwift } from '../stores/swift.js';
import { type OciClient, ociClient, type PushedImage, sha256 } from '../support/oci-client.js';
import { Regions } from '../support/regions.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('mixed engines', {
  needs: [...CEPH_NEEDS, ...SWIFT_NEEDS],
  timeoutMs: 120_000,
  fileTimeoutMs: 240_000,
});

let regions: Regions;
const pushed: PushedImage[] = [];

test.before(async () => {
  const [ceph, swift] = await Promise.all([startCeph(), startSwift()]);
  regions = await Regions.start([
    { name: 'us', storage: ['LocalStorage', { storage_path: await folder('us') }] },
    { name: 'eu', storage: ['RadosGWStorage', await bucketOf(ceph)] },
    // A region that is only a storage-proxy: another region's worker takes it over.
    { name: 'ap', storage: ['RadosGWStorage', await bucketOf(swift)], runs: [] },
  ]);
});

async function folder(name: string): Promise<string> {
  const path = join(await temporaryFolder(name), 'storage');
  await mkdir(path);
  return path;
}

async function bucketOf(server: S3Server): Promise<Record<string, unknown>> {
  const bucket = await makeBucket(server);
  atEnd(() => bucket.client.destroy());
  return radosArguments(bucket);
}

function client(region: string): OciClient {
  const made = ociClient(regions.gateway(region));
  atEnd(() => made.close());
  return made;
}

async function push(region: string, tag: string): Promise<PushedImage> {
  // One blob that goes in a batch, one that goes alone, and one of more than one S3 part.
  const layers = [randomBytes(3_000), randomBytes(3_000_000), randomBytes(20_000_000)];
  const image = await client(region).pushImage('mixed/app', tag, layers);
  pushed.push(image);
  return image;
}

/** How many verified copies each location has. */
async function copies(): Promise<Record<string, number>> {
  const rows = await regions.sql(
    `select l.name, count(p.id)::int as n from imagestoragelocation l
       left join imagestorageplacement p on p.location_id = l.id and p.verified_at is not null group by l.name`,
  );
  return Object.fromEntries(rows.map(row => [String(row.name), Number(row.n)]));
}

test('what is pushed in one region comes to all three, whatever they are kept in', async () => {
  await push('us', 'from-us');
  await push('eu', 'from-eu');
  await regions.replicated(60_000);
  const [row] = await regions.sql('select count(*)::int as n from imagestorage');
  assert.equal(await copies(), { usstorage: row?.n, eustorage: row?.n, apstorage: row?.n });
});

test('each region serves all of it by itself', async () => {
  for (const region of ['us', 'eu']) {
    for (const name of ['us', 'eu', 'ap'].filter(each => each !== region)) {
      regions.part('storage-proxy', name).kill('SIGSTOP');
    }
    try {
      await pullsAll(region);
    } finally {
      for (const name of ['us', 'eu', 'ap']) regions.part('storage-proxy', name).kill('SIGCONT');
    }
  }
});

test('Pushing a blob in chunks: a store of parts tells the least size of a chunk, and takes smaller ones all the same', async () => {
  const eu = client('eu');
  const begun = await eu.request('POST', '/v2/mixed/chunks/blobs/uploads/');
  const least = Number(begun.headers['oci-chunk-min-length']);
  assert.ok(least >= 1024 * 1024, `${least}`);
  const bytes = randomBytes(least + 3_000);
  const digest = sha256(bytes);
  let { location } = begun.headers;
  for (const [from, to] of [
    [0, 1_000],
    [1_000, 2_000],
    [2_000, least + 2_000],
    [least + 2_000, bytes.length],
  ] as const) {
    const headers = { 'content-range': `${from}-${to - 1}` };
    const answer = await eu.request('PATCH', location ?? '', { body: bytes.subarray(from, to), headers });
    assert.is(answer.status, 202, answer.body.toString());
    location = answer.headers.location;
  }
  assert.is((await eu.request('PUT', `${location}&digest=${digest}`)).status, 201);
  assert.ok((await eu.pullBlob('mixed/chunks', digest)).equals(bytes));
  // On a disk any size is as good.
  const onDisk = await client('us').request('POST', '/v2/mixed/chunks/blobs/uploads/');
  assert.is(onDisk.headers['oci-chunk-min-length'], undefined);
});

test('a fourth location is added while the others run, and fills', async () => {
  const path = await folder('sa');
  await regions.add({ name: 'sa', storage: ['LocalStorage', { storage_path: path }] });
  // Pushed through a gateway that knows nothing of the fourth location, and goes there all the same.
  await push('us', 'late');
  await regions.replicated(60_000);
  const [row] = await regions.sql('select count(*)::int as n from imagestorage');
  assert.is((await copies()).sastorage, row?.n);

  const files = (await readdir(path, { recursive: true })).filter(file => /^sha256\/..\/[0-9a-f]{64}$/.test(file));
  assert.is(files.length, row?.n);
  for (const file of files) {
    assert.is(sha256(await readFile(join(path, file))), `sha256:${file.slice(-64)}`);
  }
  await pullsAll('sa');
});

/** Every image pushed so far can be pulled through the region's gateway, all of it, with the right bytes. */
async function pullsAll(region: string): Promise<void> {
  const reader = client(region);
  for (const image of pushed) {
    await reader.pullManifest('mixed/app', image.digest);
    for (const digest of [image.config, ...image.layers]) {
      assert.ok(
        await until(async () => {
          const answer = await reader.request('GET', `/v2/mixed/app/blobs/${digest}`);
          return answer.status === 200 && sha256(answer.body) === digest;
        }, 20_000),
        `${digest} through ${region}`,
      );
    }
  }
}

test.run();
