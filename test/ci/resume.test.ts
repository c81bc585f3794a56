/**
 * A large copy is interrupted, in every way there is: how many bytes cross the long link twice is counted on that link,
 * where nobody can forget to count. Each interruption has a copy of its own, so that none lives on what another one left.
 *
 * The worker stands near the target, so the long link is the one to the source; or, as when it has taken over a location
 * of another region, near the source, and the long link is the one to the target.
 */
import { stat, unlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { SEGMENT_BYTES } from '../../lib/locations/striped.js';
import { ReplicationSignal } from '../../lib/metadata/notify.js';
import { parseRepository } from '../../lib/oci/name.js';
import { blobFile } from '../support/blob-file.js';
import { type Metadata, openMetadata, quiet } from '../support/clients.js';
import { linkTo, type MadeBlob, makeBlobs } from '../support/made-blobs.js';
import { type Relay, startRelay } from '../support/relay.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('worker: large copies resume', { timeoutMs: 120_000 });

const SIZE = 180_000_000;
/** So much has crossed when it is interrupted: more than may cross twice. */
const INTERRUPTED_AT = 120_000_000;
const MOST_TWICE = 8 * SEGMENT_BYTES;
const RATE = 50_000_000;
/** What HTTP/2, gRPC and the calls beside the reading add. */
const OVERHEAD = 1.02;

let stack: Stack;
let metadata: Metadata;
let toSource: Relay;
let toTarget: Relay;
let blobs: MadeBlob[];

test.before(async () => {
  toSource = await startRelay();
  toTarget = await startRelay();
  stack = await startStack({
    parts: [],
    config: {
      ENTREPOT_LOCATIONS: {
        usstorage: { nodes: [`127.0.0.1:${toSource.port}`] },
        eustorage: { nodes: [`127.0.0.1:${toTarget.port}`] },
      },
    },
  });
  toSource.target = stack.ports['storage-proxy-us'];
  toTarget.target = stack.ports['storage-proxy-eu'];
  toTarget.sentPerSecond = RATE;
  await stack.start('storage-proxy-us');
  await stack.start('storage-proxy-eu');
  metadata = openMetadata(stack.databaseUrl);
  await metadata.places.register(['usstorage', 'eustorage']);
  await metadata.places.setDefaults(['usstorage', 'eustorage'], true);
  blobs = await makeBlobs(await temporaryFolder('resume'), interruptions.length, SIZE);
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

/** A worker, the long link, and what has crossed it. */
interface Side {
  readonly worker: 'worker-us' | 'worker-eu';
  readonly where: string;
  start(): Promise<unknown>;
  crossed(): number;
}
const nearTarget: Side = {
  worker: 'worker-eu',
  where: 'near the target',
  start: () => stack.start('worker-eu'),
  crossed: () => toSource.received,
};
const nearSource: Side = {
  worker: 'worker-us',
  where: 'near the source',
  start: () => stack.start('worker-us', { ENTREPOT_WORKER_LOCATIONS: 'eustorage' }),
  crossed: () => toTarget.sent,
};

async function killWorker({ worker, start }: Side): Promise<void> {
  await stack.kill(worker);
  // Its claim runs out by itself; the test does not wait for that.
  await stack.sql('update replication set next_attempt_at = now()');
  await start();
}
async function restart(part: 'storage-proxy-us' | 'storage-proxy-eu'): Promise<void> {
  await stack.kill(part);
  await stack.start(part);
}
async function cut(link: Relay, ms: number): Promise<void> {
  link.cut();
  await sleep(ms);
  link.mend();
}

/** The interruptions. */
const interruptions: readonly (readonly [name: string, side: Side, interrupt: () => Promise<void>])[] = [
  ['the worker is killed', nearTarget, () => killWorker(nearTarget)],
  ['the target is killed', nearTarget, () => restart('storage-proxy-eu')],
  ['the source is killed', nearTarget, () => restart('storage-proxy-us')],
  // Longer than it takes to notice, but for the last one.
  ['the link to the source is cut', nearTarget, () => cut(toSource, 6_000)],
  ['the link to the target is cut', nearTarget, () => cut(toTarget, 5_000)],
  ['the worker is killed', nearSource, () => killWorker(nearSource)],
  ['the link to the target is cut', nearSource, () => cut(toTarget, 3_000)],
];
let running: Side | undefined;

for (const [index, [name, side, interrupt]] of interruptions.entries()) {
  test(`the worker is ${side.where}, and ${name} in the middle of a copy: no more than eight segments cross twice`, async () => {
    const blob = blobs[index];
    if (!blob) throw new Error('no blob');
    if (running !== side) {
      if (running) await stack.part(running.worker).stop();
      // What is near the worker comes as fast as it can.
      toSource.bytesPerSecond = side === nearTarget ? RATE : Number.POSITIVE_INFINITY;
      await side.start();
      running = side;
    }
    const before = side.crossed();
    await push(blob);
    const hasCrossed = () => side.crossed() - before >= INTERRUPTED_AT;
    assert.ok(await until(hasCrossed, 60_000), `${side.crossed() - before} bytes crossed`);
    const [row] = await stack.sql('select bytes_done::float8 as done from replication');
    assert.ok(Number(row?.done) > 50_000_000, `${row?.done} bytes were on record`);
    await interrupt();
    await stack.replicated(60_000);

    const crossed = side.crossed() - before;
    const twice = crossed - SIZE * OVERHEAD;
    console.log(`${name} (${side.where}): ${(twice / SEGMENT_BYTES).toFixed(1)} segments crossed twice`);
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
