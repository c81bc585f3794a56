/**
 * A link that is slow, and on which nothing is lost: what is on its way arrives, however long that takes. Each connection
 * carries a megabyte in ten seconds, so that gRPC's pings wait behind it for longer than they may on other connections.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as assert from 'uvu/assert';
import { digestOf } from '../../lib/oci/digest.js';
import { parseRepository } from '../../lib/oci/name.js';
import { blobFile } from '../support/blob-file.js';
import { openMetadata } from '../support/clients.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { throttled } from '../support/throttle.js';
import { until } from '../support/wait.js';

const test = suite('worker: a slow link', { timeoutMs: 300_000, fileTimeoutMs: 400_000 });
const MiB = 1024 * 1024;
const repository = parseRepository('team/app') ?? ('' as never);
let stack: Stack;

test.before(async () => {
  stack = await startStack({ parts: ['storage-proxy-us', 'storage-proxy-eu'] });
});

test('small blobs and a large one cross with the first try, and hardly any of their bytes twice', async () => {
  const { ports } = stack;
  const link = await throttled({ host: '127.0.0.1', port: ports['storage-proxy-us'] }, 100_000);
  const metadata = openMetadata(stack.databaseUrl);
  await metadata.places.register(['usstorage', 'eustorage']);
  await metadata.places.setDefaults(['usstorage', 'eustorage'], true);
  // A batch of three megabytes, and two stripes for each connection.
  for (const size of [MiB, MiB, MiB, 16 * MiB]) {
    const bytes = randomBytes(size);
    const digest = digestOf(bytes);
    const file = blobFile(stack.storagePath('usstorage'), digest);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, bytes);
    await metadata.blobs.record({ repository, digest, size, location: 'usstorage', traceId: '' });
  }
  const nodes = { usstorage: link.port, eustorage: ports['storage-proxy-eu'] };
  const locations = Object.entries(nodes).map(([name, port]) => [name, { nodes: [`127.0.0.1:${port}`] }]);
  const worker = await stack.start('worker-eu', { ENTREPOT_LOCATIONS: JSON.stringify(Object.fromEntries(locations)) });
  await stack.replicated(250_000);
  assert.not.match(worker.log(), 'a copy failed');
  // A line is written after the copy is recorded; small blobs have no such figure.
  const read = () => [...worker.log().matchAll(/"readBytes":(\d+)/g)].map(([, bytes]) => Number(bytes));
  assert.ok(await until(() => read().length === 1, 10_000));
  assert.ok((read()[0] ?? 0) <= 20 * MiB, `${read()} bytes crossed`);
});

test.run();
