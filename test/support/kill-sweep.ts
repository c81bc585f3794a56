/**
 * The kill sweep: again and again, a hundred blobs are to be copied, a random process is killed at a random moment and
 * started again, and in the end everything is everywhere, exactly.
 *
 * What happens in a run follows from its seed: which blobs, who dies, and when. The moment within the code does not,
 * of course: a run that failed may have to be repeated a few times.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import * as assert from 'uvu/assert';
import { LocalStorage } from '../../storage-proxy/engines/local.js';
import { sweepOnce } from '../../storage-proxy/service/sweep.js';
import { blobFile } from './blob-file.js';
import { chanceOf } from './chance.js';
import { pseudoRandom } from './images.js';
import { type OciClient, ociClient } from './oci-client.js';
import type { PartName, Stack } from './stack.js';
import { atEnd, note } from './suite.js';
import { until } from './wait.js';

const LOCATIONS = ['usstorage', 'eustorage'];
/** Who takes part in a copy from us to eu. (us' worker does not, and must not mind.) */
const VICTIMS: readonly PartName[] = ['worker-eu', 'storage-proxy-eu', 'storage-proxy-us', 'worker-us'];
const BLOBS = 100;
/** Of these a few go alone, and are long enough to be cut in the middle. */
const LARGE = 8;
/** After this long, the copies of a run are done even on a slow machine, or nearly. */
const LATEST_KILL_MS = 1_000;

/** Runs the sweep on a running stack. Throws, naming the seed, if anything is not as it must be. */
export async function killSweep(stack: Stack, { runs, seed }: { runs: number; seed: string }): Promise<void> {
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  const verified = new Set<string>();
  let inTheMiddle = 0;
  for (let run = 0; run < runs; run++) {
    const name = `${seed}/${run}`;
    try {
      if (await oneRun(stack, client, name, verified)) inTheMiddle++;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`run ${name} (again: ENTREPOT_TEST_SEED=${seed}): ${message}`, { cause: error });
    }
    if ((run + 1) % 10 === 0) process.stdout.write(`   ${run + 1} of ${runs} runs\n`);
  }
  await nothingUnfinishedIsLeft(stack);
  note(`${inTheMiddle} of ${runs} deaths came in the middle of the copies`);
  // Of a few, none may have been: a fast machine is done early.
  assert.ok(
    runs < 50 || inTheMiddle >= runs / 10,
    `only ${inTheMiddle} of ${runs} deaths came in the middle of the copies`,
  );
}

/** Whether the death came in the middle: some of the copies had been made, or were being made, and some had not. */
async function oneRun(stack: Stack, client: OciClient, name: string, verified: Set<string>): Promise<boolean> {
  const chance = chanceOf(name);
  const victim = VICTIMS[Math.floor(chance() * VICTIMS.length)] as PartName;
  const killAfterMs = chance() * LATEST_KILL_MS;
  // The worker stands still while the blobs are pushed, so that they are all to be copied when it goes on.
  stack.part('worker-eu').kill('SIGSTOP');
  const sizes = Array.from({ length: BLOBS }, (_, index) =>
    index < LARGE ? 1_100_000 + Math.floor(chance() * 4_000_000) : 1 + Math.floor(chance() * 20_000),
  );
  const blobs = sizes.map((size, index) => Buffer.concat([...pseudoRandom(size, `${name}/${index}`)]));
  const digests = await inParallel(16, blobs, blob => client.pushBlob('sweep/blobs', blob));
  stack.part('worker-eu').kill('SIGCONT');

  await sleep(killAfterMs);
  await stack.kill(victim);
  const [row] = await stack.sql('select count(*)::int as waiting, count(lease_token)::int as claimed from replication');
  const [waiting, claimed] = [Number(row?.waiting), Number(row?.claimed)];
  const isInTheMiddle = waiting > 0 && (waiting < BLOBS || claimed > 0);
  await sleep(chance() * 200);
  await stack.start(victim);
  await stack.replicated(60_000);
  await everythingIsThere(stack, digests, verified);
  return isInTheMiddle;
}

async function everythingIsThere(stack: Stack, digests: readonly string[], verified: Set<string>): Promise<void> {
  for (const location of LOCATIONS) {
    const rows = await stack.sql(
      `select s.content_checksum as digest from imagestorageplacement p join imagestorage s on s.id = p.storage_id
         join imagestoragelocation l on l.id = p.location_id
        where l.name = $1 and p.verified_at is not null order by 1`,
      [location],
    );
    const placed = rows.map(row => String(row.digest));
    assert.equal(await stack.blobsOf(location), placed, `what ${location} holds is what its placements say`);
    for (const digest of digests) assert.ok(placed.includes(digest), `${digest} is in ${location}`);
    for (const digest of placed) {
      const key = `${location} ${digest}`;
      if (verified.has(key)) continue;
      assert.is(await hashOf(stack, location, digest), digest);
      verified.add(key);
    }
  }
  for (const table of ['replication', 'requeue', 'blobupload', 'pendingimage']) {
    assert.equal(await stack.sql(`select * from ${table}`), [], `no row is left in ${table}`);
  }
}

/** What killed processes left unfinished belongs to nobody: once it is old enough, a node's sweep removes all of it. */
async function nothingUnfinishedIsLeft(stack: Stack): Promise<void> {
  const longAgo = new Date(Date.now() - 365 * 24 * 3_600_000);
  for (const location of LOCATIONS) {
    const root = stack.storagePath(location);
    const folder = join(root, 'uploads');
    // The canaries of the nodes come and go here.
    for (const entry of await readdir(folder, { recursive: true })) {
      await utimes(join(folder, entry), longAgo, longAgo).catch(() => {});
    }
    const engine = new LocalStorage({ storage_path: root });
    await sweepOnce(engine, pino({ level: 'silent' }), Date.now() - 3_600_000, new AbortController().signal);
    assert.ok(
      await until(async () => (await readdir(folder)).length === 0, 20_000),
      `uploads/ of ${location} is empty`,
    );
  }
}

async function hashOf(stack: Stack, location: string, digest: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(blobFile(stack.storagePath(location), digest)), hash);
  return `sha256:${hash.digest('hex')}`;
}

async function inParallel<T, R>(width: number, items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < items.length; index = next++) results[index] = await work(items[index] as T);
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}
