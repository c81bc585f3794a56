/** What is measured of a registry. Each measure prepares itself, and answers a rate. */
import { createHash, randomBytes } from 'node:crypto';
import { imageManifestType, sha256 } from '../support/oci-client.js';
import { type Candidate, settleDisk } from './candidates.js';
import { type Body, bodyOf, Client, drain } from './client.js';

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
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';

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
  const seconds = await timed(() => pushBlob(client, body, digest, streamed ? 'patch' : 'put'));
  client.close();
  await candidate.removeBlob(digest);
  return size / 1e6 / seconds;
}

/** Bytes that were written a moment ago, so they come from memory: it is the way through the registry that is measured. */
async function largePull(candidate: Candidate, size: number, streams: number): Promise<number> {
  const { body, digest } = uniqueBlob(size);
  const client = new Client(candidate.port, 1);
  await pushBlob(client, body, digest, 'put');
  client.close();
  await settleDisk();
  const path = `${REPOSITORY}/blobs/${digest}`;
  const seconds = await timed(() => Promise.all(Array.from({ length: streams }, () => drain(candidate.port, path))));
  await candidate.removeBlob(digest);
  return (size * streams) / 1e6 / seconds;
}

async function manifestsByTag(candidate: Candidate, sizes: Sizes): Promise<number> {
  const client = new Client(candidate.port, 16);
  await pushImage(client, 'read');
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
    for (let tag = tags.pop(); tag !== undefined; tag = tags.pop()) await pushImage(client, tag);
  };
  const seconds = await timed(() => Promise.all(Array.from({ length: 8 }, pusher)));
  client.close();
  return sizes.images / seconds;
}

/** Pushes an image of three layers of 4 KiB that nobody has seen, with the requests that docker makes. */
async function pushImage(client: Client, tag: string): Promise<void> {
  const descriptors: { mediaType: string; digest: string; size: number }[] = [];
  const blobs = [CONFIG_TYPE, LAYER_TYPE, LAYER_TYPE, LAYER_TYPE].map(mediaType => ({
    mediaType,
    bytes: mediaType === CONFIG_TYPE ? Buffer.from(JSON.stringify({ id: randomBytes(64) })) : randomBytes(4096),
  }));
  for (const { mediaType, bytes } of blobs) {
    const digest = sha256(bytes);
    await client.send('HEAD', `${REPOSITORY}/blobs/${digest}`, 404);
    await pushBlob(client, bodyOf(bytes), digest, 'patch');
    descriptors.push({ mediaType, digest, size: bytes.length });
  }
  const [config, ...layers] = descriptors;
  const manifest = { schemaVersion: 2, mediaType: imageManifestType, config, layers };
  await client.send('PUT', `${REPOSITORY}/manifests/${tag}`, 201, {
    headers: { 'content-type': imageManifestType },
    body: bodyOf(Buffer.from(JSON.stringify(manifest))),
  });
}

async function pushBlob(client: Client, body: Body, digest: string, way: 'put' | 'patch'): Promise<void> {
  const headers = { 'content-type': 'application/octet-stream' };
  const begun = await client.send('POST', `${REPOSITORY}/blobs/uploads/`, 202);
  let location = locationOf(begun.headers.location);
  if (way === 'patch') {
    const patched = await client.send('PATCH', location, 202, { headers, body, chunked: true });
    location = locationOf(patched.headers.location);
  }
  const closing = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
  await client.send('PUT', closing, 201, way === 'put' ? { headers, body } : {});
}

function locationOf(header: string | undefined): string {
  if (header === undefined) throw new Error('the answer has no Location');
  return header.replace(/^https?:\/\/[^/]*/, '');
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
