/**
 * A large copy is interrupted, in every way there is: how many bytes cross the long link twice is counted on that link,
 * where nobody can forget to count. Each interruption has a copy of its own, so that none lives on what another one left.
 */
import { stat, unlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { SEGMENT_BYTES } from '../../lib/locations/striped.js';
import { ReplicationSignal } from '../../lib/metadata/notify.js';
import { parseRepository } from '../../lib/oci/name.js';
import { linkTo, type MadeBlob, makeBlobs } from '../bench/wan-blobs.js';
import { blobFile } from '../support/blob-file.js';
import { type Metadata, openMetadata, quiet } from '../support/clients.js';
import { type Relay, startRelay } from '../support/relay.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('worker: large copies resume', { timeoutMs: 120_000 });

const SIZE = 220_000_000;
/** So much has crossed when it is interrupted: more than may cross twice. */
const INTERRUPTED_AT = 140_000_000;
const MOST_TWICE = 8 * SEGMENT_BYTES;
const RATE = 40_000_000;
/** What HTTP/2, gRPC and the calls beside the reading add. */
const OVERHEAD = 1.02;

let stack: Stack;
let metadata: Metadata;
let link: Relay;
let blobs: MadeBlob[];

test.before(async () => {
  link = await startRelay();
  const near = await startRelay();
  stack = await startStack({
    parts: [],
    config: {
      ENTREPOT_LOCATIONS: {
        usstorage: { nodes: [`127.0.0.1:${link.port}`] },
        eustorage: { nodes: [`127.0.0.1:${near.port}`] },
      },
    },
  });
  link.target = stack.ports['storage-proxy-us'];
  near.target = stack.ports['storage-proxy-eu'];
  link.bytesPerSecond = RATE;
  await stack.start('storage-proxy-us');
  await stack.start('storage-proxy-eu');
  metadata = openMetadata(stack.databaseUrl);
  await metadata.places.register(['usstorage', 'eustorage']);
  await metadata.places.setDefaults(['usstorage', 'eustorage'], true);
  blobs = await makeBlobs(await temporaryFolder('resume'), interruptions.length, SIZE);
  await stack.start('worker-eu');
});

const fileIn = (location: string, { digest }: MadeBlob) => blobFile(stack.storagePath(location), digest);

/** Puts a blob into us, and tells the worker. */
async function push(blob: MadeBlob): Promise<void> {
  await linkTo(blob, fileIn('usstorage', blob));
  const repository = parseRepository('team/app');
  if (!repository) throw new Error('no repository');
  await metadata.blobs.record({ repository, ...blob, location: 'usstorage', traceId: '0'.repeat(32) });
  const signal = new ReplicationSignal(metadata.db, quiet);
  signal.notify();
  await signal.close();
}

/** The interruptions. */
const interruptions: readonly (readonly [name: string, interrupt: () => Promise<unknown>])[] = [
  [
    'the worker is killed',
    async () => {
      await stack.kill('worker-eu');
      // Its claim runs out by itself; the test does not wait for that.
      await stack.sql('update replication set next_attempt_at = now()');
      await stack.start('worker-eu');
    },
  ],
  [
    'the target is killed',
    async () => {
      await stack.kill('storage-proxy-eu');
      await stack.start('storage-proxy-eu');
    },
  ],
  [
    'the source is killed',
    async () => {
      await stack.kill('storage-proxy-us');
      await stack.start('storage-proxy-us');
    },
  ],
  [
    'the link is cut',
    async () => {
      link.cut();
      await sleep(6_000);
      link.mend();
    },
  ],
];

for (const [index, [name, interrupt]] of interruptions.entries()) {
  test(`${name} in the middle of a copy: no more than eight segments cross twice`, async () => {
    const blob = blobs[index];
    if (!blob) throw new Error('no blob');
    const before = link.received;
    await push(blob);
    const hasCrossed = () => link.received - before >= INTERRUPTED_AT;
    assert.ok(await until(hasCrossed, 60_000), `${link.received - before} bytes crossed`);
    const [row] = await stack.sql('select bytes_done::float8 as done from replication');
    assert.ok(Number(row?.done) > 50_000_000, `${row?.done} bytes were on record`);
    await interrupt();
    await stack.replicated(60_000);

    const crossed = link.received - before;
    const twice = crossed - SIZE * OVERHEAD;
    console.log(`${name}: ${(twice / SEGMENT_BYTES).toFixed(1)} segments crossed twice`);
    assert.ok(crossed >= SIZE, 'the relay saw all of it');
    assert.ok(twice <= MOST_TWICE, `${twice} bytes crossed twice`);
    assert.is((await stat(fileIn('eustorage', blob))).size, SIZE);
    const placed = await stack.sql(
      `select 1 from imagestorageplacement p join imagestorage s on s.id = p.storage_id
        where s.content_checksum = $1 and p.verified_at is not null`,
      [blob.digest],
    );
    assert.is(placed.length, 2);
    await unlink(fileIn('eustorage', blob));
  });
}

test.run();
