/**
 * Writes images as OCI image layouts, without any outside tool, for clients to push: `oci:FOLDER:latest` in skopeo's
 * words. The same options give the same digests. Layers are tar files with one file of pseudo-random bytes, stored in a
 * gzip file without being made smaller, and are streamed to disk, so that they may have any size.
 */
import { createCipheriv, createHash, type Hash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { imageManifestType, sha256 } from './oci-client.js';

export interface ImageOptions {
  /** How many bytes the file in each layer has. */
  readonly layers: readonly number[];
  /** Images of different seeds share no blob. */
  readonly seed: string;
  /** Default: `amd64`. */
  readonly architecture?: string;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface WrittenImage {
  /** Of the manifest. */
  readonly digest: string;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export interface WrittenIndex {
  /** Of the index. */
  readonly digest: string;
  readonly images: readonly WrittenImage[];
}

export const imageIndexType = 'application/vnd.oci.image.index.v1+json';
const configType = 'application/vnd.oci.image.config.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** Writes a layout with one image, named `latest`, into a folder, which is made if it is not there. */
export async function writeLayout(folder: string, options: ImageOptions): Promise<WrittenImage> {
  const image = await writeImage(folder, options);
  await writeEntry(folder, image.manifest);
  return image;
}

/** Writes a layout with an index, named `latest`, of one image for linux/amd64 and one for linux/arm64. */
export async function writeIndexLayout(
  folder: string,
  options: Omit<ImageOptions, 'architecture'>,
): Promise<WrittenIndex> {
  const images: WrittenImage[] = [];
  const manifests: unknown[] = [];
  for (const architecture of ['amd64', 'arm64']) {
    const image = await writeImage(folder, { ...options, architecture, seed: `${options.seed} ${architecture}` });
    images.push(image);
    manifests.push({ ...image.manifest, platform: { architecture, os: 'linux' } });
  }
  const index = await writeJson(folder, imageIndexType, { schemaVersion: 2, mediaType: imageIndexType, manifests });
  await writeEntry(folder, index);
  return { digest: index.digest, images };
}

async function writeImage(folder: string, options: ImageOptions): Promise<WrittenImage> {
  await mkdir(join(folder, 'blobs', 'sha256'), { recursive: true });
  const layers: Descriptor[] = [];
  const diffIds: string[] = [];
  for (const [number, size] of options.layers.entries()) {
    const layer = await writeLayer(folder, `file-${number}`, size, `${options.seed} ${number}`);
    layers.push(layer.descriptor);
    diffIds.push(layer.diffId);
  }
  const created = '2020-01-01T00:00:00Z';
  const config = await writeJson(folder, configType, {
    architecture: options.architecture ?? 'amd64',
    os: 'linux',
    created,
    // Also in an image without layers, so that images of different seeds differ.
    config: { Labels: { seed: options.seed } },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: layers.map(() => ({ created, created_by: 'test' })),
  });
  const manifest = await writeJson(folder, imageManifestType, {
    schemaVersion: 2,
    mediaType: imageManifestType,
    config,
    layers,
  });
  return { digest: manifest.digest, manifest, config, layers };
}

/** Writes the two files that make the folder a layout whose `latest` is `entry`. */
async function writeEntry(folder: string, entry: Descriptor): Promise<void> {
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  const index = { schemaVersion: 2, mediaType: imageIndexType, manifests: [{ ...entry, annotations }] };
  await writeFile(join(folder, 'index.json'), JSON.stringify(index));
  await writeFile(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

async function writeJson(folder: string, mediaType: string, value: unknown): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = sha256(bytes);
  await writeFile(blobPath(folder, digest), bytes);
  return { mediaType, digest, size: bytes.length };
}

async function writeLayer(
  folder: string,
  file: string,
  size: number,
  seed: string,
): Promise<{ descriptor: Descriptor; diffId: string }> {
  const unfinished = join(folder, 'unfinished-layer');
  const plain = createHash('sha256');
  const stored = createHash('sha256');
  const written = createWriteStream(unfinished);
  await pipeline(
    tarOf(file, size, seed),
    pieces => hashed(pieces, plain),
    createGzip({ level: 0, chunkSize: 1 << 20 }),
    pieces => hashed(pieces, stored),
    written,
  );
  const digest = `sha256:${stored.digest('hex')}`;
  await rename(unfinished, blobPath(folder, digest));
  const descriptor = { mediaType: layerType, digest, size: written.bytesWritten };
  return { descriptor, diffId: `sha256:${plain.digest('hex')}` };
}

async function* hashed(pieces: Iterable<Buffer> | AsyncIterable<Buffer>, hash: Hash): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
}

/** A tar file (ustar) with one file in it. */
function* tarOf(name: string, size: number, seed: string): Generator<Buffer> {
  const block = 512;
  yield tarHeader(name, size);
  yield* pseudoRandom(size, seed);
  // The file's last block is filled up; two empty ones are the end.
  yield Buffer.alloc(((block - (size % block)) % block) + 2 * block);
}

function tarHeader(name: string, size: number): Buffer {
  if (size >= 8 ** 11) throw new RangeError('a file in a layer must be smaller than 8 GiB');
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number) =>
    header.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  header.write(name, 0, 100, 'latin1');
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  header.write('0', 156, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  // The sum counts its own field as spaces.
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** Bytes that look random and follow from the seed: the key stream of a cipher. */
export function* pseudoRandom(size: number, seed: string): Generator<Buffer> {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(Math.min(size, 1 << 20));
  for (let left = size; left > 0; left -= zeros.length) {
    yield cipher.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
  }
}

function blobPath(folder: string, digest: string): string {
  return join(folder, 'blobs', 'sha256', digest.slice('sha256:'.length));
}
