/** Looking for blobs and reading them: FindMissingBlobs, StatBlob, ReadBlob, VerifyBlob. */
import { algorithmOf, endHash, newHash } from '../../lib/oci/digest.js';
import { FRAME_BYTES } from '../../lib/rpc/channel.js';
import { fail } from '../../lib/rpc/errors.js';
import type { FindMissingBlobsRequest__Output } from '../../proto/generated/entrepot/storage/v1/FindMissingBlobsRequest.js';
import type { FindMissingBlobsResponse } from '../../proto/generated/entrepot/storage/v1/FindMissingBlobsResponse.js';
import type { ReadBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/ReadBlobRequest.js';
import type { ReadBlobResponse } from '../../proto/generated/entrepot/storage/v1/ReadBlobResponse.js';
import type { StatBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/StatBlobRequest.js';
import type { StatBlobResponse } from '../../proto/generated/entrepot/storage/v1/StatBlobResponse.js';
import type { VerifyBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/VerifyBlobRequest.js';
import type { VerifyBlobResponse } from '../../proto/generated/entrepot/storage/v1/VerifyBlobResponse.js';
import { each } from '../engines/each.js';
import { begun } from './begun.js';
import { CONCURRENCY, type Parts } from './service.js';
import { Turns } from './turns.js';
import { asBytes, asDigest, asDigests } from './validate.js';

const NOTHING = Buffer.alloc(0);

/** How long a read in turn waits for those before it. A caller may give up a read of which nothing comes for 2 s. */
const TURN_MS = 1_000;

export function blobHandlers({ engine, gates, make, metrics }: Parts) {
  const turns = new Turns(TURN_MS);
  return {
    FindMissingBlobs: make.unary<FindMissingBlobsRequest__Output, FindMissingBlobsResponse>(
      async (request, { signal }) => {
        const digests = asDigests(request.digests);
        const sizes = await gates.batches.run(signal, () =>
          each(digests, CONCURRENCY, digest => engine.stat(digest, signal)),
        );
        return { missingDigests: digests.filter((_, i) => sizes[i] === undefined) };
      },
    ),

    StatBlob: make.unary<StatBlobRequest__Output, StatBlobResponse>(async (request, { signal }) => {
      const digest = asDigest(request.digest);
      const size = await engine.stat(digest, signal);
      if (size === undefined) throw fail.blobUnknown(digest);
      return { size };
    }),

    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (request, send, { signal, peer }) => {
      const digest = asDigest(request.digest);
      const offset = asBytes('offset', request.offset);
      const limit = asBytes('limit', request.limit);
      await gates.reads.run(signal, async () => {
        const { size, bytes } = await engine.read(digest, { offset, limit: limit || undefined }, signal);
        let isFirst = true;
        const sendAll = async (pieces: AsyncIterable<Buffer>) => {
          for await (const piece of pieces) {
            metrics.moved('read', piece.length);
            for (let at = 0; at < piece.length; at += FRAME_BYTES) {
              await send({ size: isFirst ? size : 0, data: piece.subarray(at, at + FRAME_BYTES) });
              isFirst = false;
            }
          }
          if (isFirst) await send({ size, data: NOTHING });
        };
        if (!request.inTurn) return sendAll(bytes);
        const pieces = begun(bytes);
        try {
          await send({ size, data: NOTHING });
          isFirst = false;
          await turns.run(peer, signal, () => sendAll(pieces));
        } finally {
          pieces.end();
        }
      });
    }),

    VerifyBlob: make.unary<VerifyBlobRequest__Output, VerifyBlobResponse>(async (request, { signal }) => {
      const digest = asDigest(request.digest);
      const algorithm = algorithmOf(digest);
      return gates.reads.run(signal, async () => {
        const { size, bytes } = await engine.read(digest, { offset: 0 }, signal);
        const hash = newHash(algorithm);
        for await (const piece of bytes) hash.update(piece);
        const found = endHash(algorithm, hash);
        if (found !== digest) throw fail.corrupt(digest, `they hash to ${found}`);
        return { size };
      });
    }),
  };
}
