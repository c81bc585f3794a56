/** Blobs for the bench over a long wire, made once, and then linked to where each registry keeps its own. */
import { createHash, randomBytes } from 'node:crypto';
import { link, mkdir, open, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Digest, digestOf, hexOf } from '../../lib/oci/digest.js';

export interface MadeBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly path: string;
}

/** Makes files of so many bytes each, all different, that do not compress. */
export async function makeBlobs(folder: string, count: number, size: number): Promise<MadeBlob[]> {
  await mkdir(folder, { recursive: true });
  const noise = randomBytes(Math.min(size, 1 << 20));
  const blobs: MadeBlob[] = [];
  for (let index = 0; index < count; index++) {
    const path = join(folder, `new-${index}`);
    const file = await open(path, 'w');
    const hash = createHash('sha256');
    for (let left = size; left > 0; left -= noise.length) {
      randomBytes(16).copy(noise);
      const piece = left < noise.length ? noise.subarray(0, left) : noise;
      hash.update(piece);
      await file.write(piece);
    }
    await file.close();
    const digest = `sha256:${hash.digest('hex')}` as Digest;
    const named = join(folder, hexOf(digest));
    await rename(path, named);
    blobs.push({ digest, size, path: named });
  }
  return blobs;
}

/** Makes a file with this content, as one of the blobs. */
export async function makeBlob(folder: string, content: string): Promise<MadeBlob> {
  const digest = digestOf(Buffer.from(content));
  const path = join(folder, hexOf(digest));
  const file = await open(path, 'w');
  await file.write(content);
  await file.close();
  return { digest, size: Buffer.byteLength(content), path };
}

/** Gives a blob another name on the same disk. */
export async function linkTo({ path }: MadeBlob, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  await link(path, target).catch(error => {
    if (error.code !== 'EEXIST') throw error;
  });
}
