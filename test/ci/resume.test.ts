/**
 * A large copy is interrupted in every way: how many bytes cross the long link twice is counted on that link, where
 * nobody can forget to count.
 */
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { SEGMENT_BYTES } from '../../lib/locations/striped.js';
import { parseRepository } from '../../lib/oci/name.js';
import { linkTo, type MadeBlob, makeBlobs } from '../bench/wan-blobs.js';
import { blobFile } from '../support/blob-file.js';
import { openMetadata } from '../support/clients.js';
import { type Relay, startRelay } from '../support/relay.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('worker: large copies resume', { timeoutMs: 120_000 });

const SIZE = 700_000_000;
const RATE = 40_000_000;
/** What HTTP/2, gRPC and the calls beside the reading add. */
const OVERHEAD = 1.02;

let stack: Stack;
let link: Relay;
let blob: MadeBlob;

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
  const metadata = openMetadata(stack.databaseUrl);
  await metadata.places.register(['usstorage', 'eustorage']);
  await metadata.places.setDefaults(['usstorage', 'eustorage'], true);
  [blob] = (await makeBlobs(await temporaryFolder('resume'), 1, SIZE)) as [MadeBlob];
  await linkTo(blob, fileIn('usstorage'));
  const repository = parseRepository('team/app');
  if (!repository) throw new Error('no repository');
  await metadata.blobs.record({ repository, ...blob, location: 'usstorage', traceId: '0'.repeat(32) });
  await stack.start('worker-eu');
});

function fileIn(location: string): string {
  return blobFile(stack.storagePath(location), blob.digest);
}

/** The interruptions, each after so many more bytes have crossed. */
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

test('whatever is killed in the middle of a copy, no more than eight segments cross twice', async () => {
  const crossed = async (bytes: number) => {
    for (const from = link.received; link.received < from + bytes; ) await sleep(10);
  };
  // Each time more is behind than may cross twice.
  await crossed(200_000_000);
  for (const [name, interrupt] of interruptions) {
    const [row] = await stack.sql('select bytes_done::float8 as done from replication');
    assert.ok(Number(row?.done) > 100_000_000, `${name}: ${row?.done} bytes were on record`);
    await interrupt();
    await crossed(60_000_000);
  }
  await stack.replicated(60_000);
  const twice = link.received - SIZE * OVERHEAD;
  const most = interruptions.length * 8 * SEGMENT_BYTES;
  console.log(`${(twice / SEGMENT_BYTES).toFixed(1)} segments crossed twice in ${interruptions.length} interruptions`);
  assert.ok(link.received >= SIZE, 'the relay saw all of it');
  assert.ok(twice <= most, `${twice} bytes crossed twice`);

  const file = await open(fileIn('eustorage'));
  assert.is((await file.stat()).size, SIZE);
  await file.close();
  const rows = await stack.sql('select 1 from imagestorageplacement where verified_at is not null');
  assert.is(rows.length, 2);
});

test.run();
