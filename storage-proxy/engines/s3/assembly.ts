/** Makes a blob of an upload's objects: what a commit does once it knows which they are. */
import { algorithmOf, type Digest, endHash, newHash } from '../../../lib/oci/digest.js';
import { throwIfAborted } from '../abortable.js';
import { each } from '../each.js';
import type { BucketClient } from './bucket.js';
import type { Keys } from './keys.js';
import { type ObjectRange, readObject } from './reading.js';
import type { OpenParts, Part, Piece } from './session.js';
import type { Staging } from './staging.js';

const MIB = 1024 * 1024;

/** Stores copy objects up to 5 GiB in one request; in parts it is quicker from about here on, since those go in parallel. */
const COPY_WHOLE_BYTES = 1024 * MIB;

/** Large enough that requests do not count, small enough that one that fails is soon made up for. */
const COPY_PART_BYTES = 256 * MIB;

/** Copies of one commit that run at a time. */
const COPIES_AT_A_TIME = 4;

/** Parts of an object: some stores take no more. */
const MAX_NUMBER = 1_000;
/** What stores take that follow AWS's limits, if an object cannot be had in fewer parts. */
const MAX_NUMBER_AWS = 10_000;

/** Where the bytes of an upload are: objects, and then bytes that are in no object that could be a part. */
export interface Sources {
  readonly id: string;
  readonly pieces: readonly Piece[];
  readonly tail: Buffer;
}

export function rangesOf(keys: Keys, { id, pieces }: Sources): ObjectRange[] {
  return pieces.map(({ name, length }) => ({ key: keys.piece(id, name), from: 0, length }));
}

/** The digest of stored bytes, followed by those of `tail`: they are all read. */
export async function hashRanges(
  bucket: BucketClient,
  ranges: readonly ObjectRange[],
  digest: Digest,
  signal: AbortSignal | undefined,
  tail: Buffer = Buffer.alloc(0),
): Promise<Digest> {
  const algorithm = algorithmOf(digest);
  const hash = newHash(algorithm);
  for (const range of ranges) {
    for await (const piece of readObject(bucket, range, signal)) hash.update(piece);
  }
  throwIfAborted(signal);
  return endHash(algorithm, hash.update(tail));
}

/** Makes the blob from verified sources; it becomes visible in one step, by the last request. */
export async function assemble(
  staging: Staging,
  sources: Sources,
  digest: Digest,
  options: { readonly serverSideCopy: boolean; readonly maxCopyBytes: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  const { bucket, keys, tuning } = staging;
  const key = keys.blob(digest);
  const { pieces, tail, id } = sources;
  const [only] = pieces;
  if (!only) return bucket.put(key, tail, signal);
  const copyWholeBytes = tuning.copyWholeBytes ?? COPY_WHOLE_BYTES;
  const isOne = pieces.length === 1 && tail.length === 0 && only.whole;
  if (options.serverSideCopy && isOne && only.length <= copyWholeBytes)
    return bucket.copy(keys.piece(id, only.name), key, only.length, signal);
  const uploadId = await bucket.multipart.create(key, signal);
  try {
    await completeWith(staging, sources, { key, open: { uploadId, parts: [] } }, options, signal);
  } catch (error) {
    await bucket.multipart.abort(key, uploadId).catch(() => {});
    throw error;
  }
}

export interface Target {
  readonly key: string;
  /** What it has already: the first bytes. */
  readonly open: OpenParts;
}

/** Adds the sources to a multipart upload as its last parts, and completes it. */
export async function completeWith(
  staging: Staging,
  { id, pieces, tail }: Sources,
  { key, open }: Target,
  options: { readonly serverSideCopy: boolean; readonly maxCopyBytes: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  const { bucket, keys, tuning } = staging;
  const nextNumber = open.parts.length + 1;
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  const smallest = options.serverSideCopy ? (tuning.copyPartBytes ?? COPY_PART_BYTES) : staging.minPartBytes;
  const partBytes = Math.min(options.maxCopyBytes, Math.max(smallest, partBytesFor(total, pieces.length, nextNumber)));
  const ranges = pieces.flatMap(({ name, length }) =>
    split(length, partBytes, staging.minPartBytes).map(range => ({ ...range, key: keys.piece(id, name) })),
  );
  const parts = await each(ranges, COPIES_AT_A_TIME, async (range, index): Promise<Part> => {
    throwIfAborted(signal);
    const number = nextNumber + index;
    if (options.serverSideCopy) return bucket.multipart.copyPart(key, open.uploadId, number, range, signal);
    const bytes: Buffer[] = [];
    for await (const piece of readObject(bucket, range, signal)) bytes.push(piece);
    return bucket.multipart.uploadPart(key, open.uploadId, number, Buffer.concat(bytes), signal);
  });
  const last =
    tail.length > 0
      ? [await bucket.multipart.uploadPart(key, open.uploadId, nextNumber + ranges.length, tail, signal)]
      : [];
  await bucket.multipart.complete(key, open.uploadId, [...open.parts, ...parts, ...last], signal);
}

/** How large parts must be so that there are numbers for all of them. */
function partBytesFor(total: number, pieces: number, nextNumber: number): number {
  const room = MAX_NUMBER - nextNumber - pieces;
  const numbers = room > pieces ? room : MAX_NUMBER_AWS - nextNumber - pieces;
  return Math.ceil(total / Math.max(1, numbers));
}

/** Ranges of nearly the same length, so that none is too small for a part. */
function split(length: number, partBytes: number, minBytes: number): { from: number; length: number }[] {
  const count = Math.max(1, Math.min(Math.ceil(length / partBytes), Math.floor(length / minBytes)));
  const start = (i: number) => Math.floor((length * i) / count);
  return Array.from({ length: count }, (_, i) => ({ from: start(i), length: start(i + 1) - start(i) }));
}
