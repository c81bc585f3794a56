/** A location's blobs as a whole: DeleteBlobs, ListBlobs. */
import { toStatusMessage } from '../../lib/rpc/errors.js';
import type { BlobInfo } from '../../proto/generated/entrepot/storage/v1/BlobInfo.js';
import type { DeleteBlobsRequest__Output } from '../../proto/generated/entrepot/storage/v1/DeleteBlobsRequest.js';
import type { DeleteBlobsResponse } from '../../proto/generated/entrepot/storage/v1/DeleteBlobsResponse.js';
import type { ListBlobsRequest__Output } from '../../proto/generated/entrepot/storage/v1/ListBlobsRequest.js';
import type { ListBlobsResponse } from '../../proto/generated/entrepot/storage/v1/ListBlobsResponse.js';
import { each } from '../engines/each.js';
import { outcome } from './outcome.js';
import { CONCURRENCY, type Parts } from './service.js';
import { asDigests, asOptionalDigest, MAX_ITEMS } from './validate.js';

export function collectionHandlers({ engine, gates, make }: Parts) {
  return {
    DeleteBlobs: make.unary<DeleteBlobsRequest__Output, DeleteBlobsResponse>(async (request, { signal }) => {
      const digests = asDigests(request.digests);
      return gates.batches.run(signal, async () => ({
        results: await each(digests, CONCURRENCY, async digest => {
          const { error } = await outcome(() => engine.remove(digest, signal));
          return { digest, status: toStatusMessage(error) };
        }),
      }));
    }),

    ListBlobs: make.serverStream<ListBlobsRequest__Output, ListBlobsResponse>(async (request, send, { signal }) => {
      const after = asOptionalDigest(request.after);
      await gates.reads.run(signal, async () => {
        let blobs: BlobInfo[] = [];
        for await (const blob of engine.list(after, signal)) {
          blobs.push(blob);
          if (blobs.length < MAX_ITEMS) continue;
          await send({ blobs });
          blobs = [];
        }
        if (blobs.length > 0) await send({ blobs });
      });
    }),
  };
}
