/** Damaged copies: found when they are a source, passed over for another location's, and made anew from it. */
import { randomBytes } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import * as assert from 'uvu/assert';
import { Locations } from '../../lib/locations/locations.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { parseRepository } from '../../lib/oci/name.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { blobFile } from '../support/blob-file.js';
import { type Metadata, openMetadata, quiet } from '../support/clients.js';
import { freePorts } from '../support/ports.js';
import { startProcess } from '../support/process.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('worker: repair', { timeoutMs: 60_000 });
const NAMES = ['usstorage', 'eustorage', 'apstorage'];
const repository = parseRepository('team/app') ?? ('' as never);
let stack: Stack;
let metadata: Metadata;
let locations: Locations;
let folders: Record<string, string>;

test.before(async () => {
  const ports = await freePorts(3);
  folders = {};
  for (const name of NAMES) folders[name] = await temporaryFolder(name);
  const config = {
    DISTRIBUTED_STORAGE_CONFIG: Object.fromEntries(
      NAMES.map(name => [name, ['LocalStorage', { storage_path: folders[name] }]]),
    ),
    DISTRIBUTED_STORAGE_PREFERENCE: NAMES,
    ENTREPOT_LOCATIONS: Object.fromEntries(
      NAMES.map((name, index) => [name, { nodes: [`127.0.0.1:${ports[index]}`] }]),
    ),
    ENTREPOT_WORKER_LOCATIONS: NAMES,
  };
  stack = await startStack({ parts: [], config });
  await Promise.all(
    NAMES.map((name, index) => {
      const address = `127.0.0.1:${ports[index]}`;
      return startProcess({
        name,
        script: 'storage-proxy/main.js',
        config: stack.config,
        env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: name, ENTREPOT_STORAGE_PROXY_LISTEN: address },
        ready: () => checkHealth(address, 'entrepot.storage.write', 1_000),
      });
    }),
  );
  metadata = openMetadata(stack.databaseUrl, { libraryNamespace: 'library', replicate: true, writeQuorum: 1 });
  await metadata.places.register(NAMES);
  await metadata.places.setDefaults(NAMES, true);
  locations = new Locations({
    locations: NAMES.map((name, index) => ({ name, nodes: [`127.0.0.1:${ports[index]}`] })),
    preference: NAMES,
    identify: async () => true,
    log: quiet,
  });
  atEnd(() => locations.close());
});

/** Puts a blob into us and eu, as if ap were new. */
async function inTwo(bytes: Buffer): Promise<Digest> {
  const digest = digestOf(bytes);
  for (const name of ['usstorage', 'eustorage']) {
    const store = locations.get(name)?.store;
    if (!store) throw new Error(`no ${name}`);
    const begun = await store.begin({ digest });
    const end = await store.append(begun.session, once(bytes), () => {});
    await store.commit(end.session, digest);
    await metadata.blobs.record({ repository, digest, size: bytes.length, location: name, traceId: '' });
  }
  return digest;
}
async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
function fileOf(location: string, digest: Digest): string {
  return blobFile(folders[location] ?? '', digest);
}

test('flipped and truncated, small and large: the third location gets good bytes, and the bad copies are mended', async () => {
  const blobs = [randomBytes(3_000), randomBytes(4_000), randomBytes(3_000_000), randomBytes(2_500_000)];
  const digests: Digest[] = [];
  for (const bytes of blobs) digests.push(await inTwo(bytes));
  const [smallFlipped, smallCut, largeFlipped, largeCut] = digests as [Digest, Digest, Digest, Digest];
  await writeFile(fileOf('usstorage', smallFlipped), randomBytes(3_000));
  await truncate(fileOf('usstorage', smallCut), 1_000);
  await writeFile(fileOf('usstorage', largeFlipped), randomBytes(3_000_000));
  await truncate(fileOf('usstorage', largeCut), 2_000_000);

  const worker = await stack.start('worker-us');
  await stack.replicated(30_000);
  for (const [index, digest] of digests.entries()) {
    for (const name of NAMES)
      assert.ok((await readFile(fileOf(name, digest))).equals(blobs[index] as Buffer), `${name} ${index}`);
    assert.equal([...((await metadata.blobs.find(repository, digest)).blob?.locations ?? [])].sort(), NAMES.toSorted());
  }
  assert.match(worker.log(), 'a copy is damaged; it will be made again from another location');
  assert.is((await stack.sql('select 1 from imagestorageplacement where verified_at is null')).length, 0);
});

test('the last verified copy is never given up, only marked', async () => {
  const digest = digestOf(randomBytes(10));
  await metadata.blobs.record({ repository, digest, size: 10, location: 'usstorage', traceId: '' });
  assert.not(await metadata.replication.distrust(digest, 'usstorage', 'damaged'));
  const rows = await stack.sql(
    'select p.verified_at from imagestorageplacement p join imagestorage s on s.id = p.storage_id where s.content_checksum = $1',
    [digest],
  );
  assert.equal(rows, [{ verified_at: null }]);
  await stack.sql('delete from replication');
});

test('of two copies that are found damaged at once, one stays', async () => {
  const digest = await inTwo(randomBytes(100));
  const answers = await Promise.all(
    ['usstorage', 'eustorage'].map(name => metadata.replication.distrust(digest, name, 'damaged')),
  );
  assert.equal(answers.toSorted(), [false, true]);
  assert.is((await metadata.blobs.find(repository, digest)).blob?.locations.length, 1);
});

test.run();
