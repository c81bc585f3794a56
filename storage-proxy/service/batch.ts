/** Many small blobs in one call: BatchReadBlobs, BatchWriteBlobs. They run side by side, so that their syncs group. */
import { algorithmOf, type Digest, digestOf } from '../../lib/oci/digest.js';
import { fail, toStatusMessage } from '../../lib/rpc/errors.js';
import type { BatchReadBlobsRequest__Output } from '../../proto/generated/entrepot/storage/v1/BatchReadBlobsRequest.js';
import type { BatchReadBlobsResponse } from '../../proto/generated/entrepot/storage/v1/BatchReadBlobsResponse.js';
import type { BatchWriteBlobsRequest__Output } from '../../proto/generated/entrepot/storage/v1/BatchWriteBlobsRequest.js';
import type { BatchWriteBlobsResponse } from '../../proto/generated/entrepot/storage/v1/BatchWriteBlobsResponse.js';
import type { BlobRead } from '../../proto/generated/entrepot/storage/v1/BlobRead.js';
import { each } from '../engines/each.js';
import type { BlobBody, Engine } from '../engines/engine.js';
import { outcome } from './outcome.js';
import { CONCURRENCY, type Parts } from './service.js';
import { asDigest, asDigests, assertItems } from './validate.js';

const MIB = 1024 * 1024;
/** The largest blob of a batch. */
const MAX_BLOB_BYTES = MIB;
/** The data of a batch. */
const MAX_BATCH_BYTES = 3 * MIB;

export function batchHandlers({ engine, gates, make, metrics }: Parts) {
  return {
    BatchReadBlobs: make.unary<BatchReadBlobsRequest__Output, BatchReadBlobsResponse>(async (request, { signal }) => {
      const digests = asDigests(request.digests);
      return gates.batches.run(signal, async () => {
        // A body that is not iterated holds nothing: so the sizes are known before the first byte is read.
        const bodies = await each(digests, CONCURRENCY, digest =>
          outcome(() => engine.read(digest, { offset: 0 }, signal)),
        );
        let room = MAX_BATCH_BYTES;
        const chosen = bodies.map((body, i) => {
          if (body.error) return { digest: digests[i] ?? '', error: body.error };
          const { size } = body.value;
          if (size > MAX_BLOB_BYTES || size > room) {
            const bound =
              size > MAX_BLOB_BYTES ? 'too large for a batch: read it by itself' : 'in no room left: ask again';
            return { digest: digests[i] ?? '', error: fail.tooLarge(`the blob of ${size} bytes is ${bound}`) };
          }
          room -= size;
          return { digest: digests[i] ?? '', body: body.value };
        });
        const blobs = await each(chosen, CONCURRENCY, async ({ digest, error, body }): Promise<BlobRead> => {
          if (!body) return { digest, status: toStatusMessage(error) };
          const read = await outcome(() => collect(body));
          metrics.moved('read', read.value?.length ?? 0);
          return { digest, data: read.value ?? '', status: toStatusMessage(read.error) };
        });
        return { blobs };
      });
    }),

    BatchWriteBlobs: make.unary<BatchWriteBlobsRequest__Output, BatchWriteBlobsResponse>(
      async (request, { signal }) => {
        assertItems(request.blobs.length);
        const blobs = request.blobs.map(({ digest, data }) => ({ digest: asDigest(digest), data }));
        const total = blobs.reduce((sum, { data }) => sum + data.length, 0);
        if (total > MAX_BATCH_BYTES)
          throw fail.malformed(`the batch has ${total} bytes; at most ${MAX_BATCH_BYTES} are taken`);
        const large = blobs.find(({ data }) => data.length > MAX_BLOB_BYTES);
        if (large)
          throw fail.malformed(
            `${large.digest} has ${large.data.length} bytes; a batch takes at most ${MAX_BLOB_BYTES} each`,
          );
        return gates.batches.run(signal, async () => ({
          results: await each(blobs, CONCURRENCY, async ({ digest, data }) => {
            metrics.moved('written', data.length);
            const { error } = await outcome(() => write(engine, digest, data, signal));
            return { digest, status: toStatusMessage(error) };
          }),
        }));
      },
    ),
  };
}

async function collect(body: BlobBody): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of body.bytes) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Writes one blob, verified. What does not hash to its digest never reaches the store. */
async function write(engine: Engine, digest: Digest, data: Buffer, signal: AbortSignal): Promise<void> {
  const found = digestOf(data, algorithmOf(digest));
  if (found !== digest) throw fail.digestMismatch(digest, found);
  const { session } = await engine.begin({ digest }, signal);
  try {
    const written = await engine.append(session, only(data), () => {}, signal);
    await engine.commit(written.session, digest, signal);
  } catch (error) {
    await engine.abort(session).catch(() => {});
    throw error;
  }
}

async function* only(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}
