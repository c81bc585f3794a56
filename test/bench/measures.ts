/** What is measured of a registry. Each measure prepares itself, and answers a rate. */
import { createHash, randomBytes } from 'node:crypto';
import { imageManifestType } from '../support/oci-client.js';
import { type Candidate, settleDisk } from './candidates.js';
import { type Body, Client, drain } from './client.js';
import { pushBlob, pushSmallImage } from './pushes.js';

export interface Measure {
  readonly name: string;
  readonly unit: 'MB/s' | '/s';
  run(candidate: Candidate, sizes: Sizes): Promise<number>;
}

export interface Sizes {
  /** Of the large blob, in bytes. */
  readonly blob: number;
  /** How long manifests are asked for, in ms. */
  readonly manifestMs: number;
  /** How many small images are pushed. */
  readonly images: number;
}

const REPOSITORY = '/v2/bench/image';

export const measures: readonly Measure[] = [
  { name: 'push, one PUT', unit: 'MB/s', run: (candidate, sizes) => largePush(candidate, sizes.blob, false) },
  { name: 'push, streamed PATCH', unit: 'MB/s', run: (candidate, sizes) => largePush(candidate, sizes.blob, true) },
  { name: 'pull, 1 stream', unit: 'MB/s', run: (candidate, sizes) => largePull(candidate, sizes.blob, 1) },
  { name: 'pull, 4 streams', unit: 'MB/s', run: (candidate, sizes) => largePull(candidate, sizes.blob, 4) },
  { name: 'manifest by tag, 16 connections', unit: '/s', run: manifestsByTag },
  { name: 'images of 3 x 4 KiB, 8 at a time', unit: '/s', run: smallImages },
];

async function largePush(candidate: Candidate, size: number, streamed: boolean): Promise<number> {
  const { body, digest } = uniqueBlob(size);
  const client = new Client(candidate.port, 1);
  await settleDisk();
  const seconds = await timed(() => pushBlob(client, REPOSITORY, body, digest, streamed ? 'patch' : 'put'));
  client.close();
  await candidate.removeBlob(digest);
  return size / 1e6 / seconds;
}

/** Bytes that were written a moment ago, so they come from memory: it is the way through the registry that is measured. */
async function largePull(candidate: Candidate, size: number, streams: number): Promise<number> {
  const { body, digest } = uniqueBlob(size);
  const client = new Client(candidate.port, 1);
  await pushBlob(client, REPOSITORY, body, digest, 'put');
  client.close();
  await settleDisk();
  const path = `${REPOSITORY}/blobs/${digest}`;
  const seconds = await timed(() => Promise.all(Array.from({ length: streams }, () => drain(candidate.port, path))));
  await candidate.removeBlob(digest);
  return (size * streams) / 1e6 / seconds;
}

async function manifestsByTag(candidate: Candidate, sizes: Sizes): Promise<number> {
  const client = new Client(candidate.port, 16);
  await pushSmallImage(client, REPOSITORY, 'read');
  const headers = { accept: imageManifestType };
  const until = async (end: number) => {
    let count = 0;
    for (; performance.now() < end; count++) await client.send('GET', `${REPOSITORY}/manifests/read`, 200, { headers });
    return count;
  };
  const during = (ms: number) => Promise.all(Array.from({ length: 16 }, () => until(performance.now() + ms)));
  await during(500);
  let total = 0;
  const seconds = await timed(async () => {
    for (const count of await during(sizes.manifestMs)) total += count;
  });
  client.close();
  return total / seconds;
}

async function smallImages(candidate: Candidate, sizes: Sizes): Promise<number> {
  const client = new Client(candidate.port, 8);
  await settleDisk();
  const tags = Array.from({ length: sizes.images }, (_, number) => `small-${number}`);
  const pusher = async () => {
    for (let tag = tags.pop(); tag !== undefined; tag = tags.pop()) await pushSmallImage(client, REPOSITORY, tag);
  };
  const seconds = await timed(() => Promise.all(Array.from({ length: 8 }, pusher)));
  client.close();
  return sizes.images / seconds;
}

/** A blob that no registry has: random bytes again and again, after some that are new. */
function uniqueBlob(size: number): { body: Body; digest: string } {
  const piece = randomBytes(1 << 20);
  function* pieces(): Generator<Buffer> {
    for (let left = size; left > 0; left -= piece.length) yield left < piece.length ? piece.subarray(0, left) : piece;
  }
  const hash = createHash('sha256');
  for (const each of pieces()) hash.update(each);
  return { body: { size, pieces }, digest: `sha256:${hash.digest('hex')}` };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
}
