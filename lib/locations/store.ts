/**
 * The storage contract from the caller's side: the methods of an engine, over gRPC.
 *
 * `RemoteStore` has the names and shapes of the engine interface in the storage-proxy, so that one contract suite
 * judges both. It knows nothing of health or choice: which node a call goes to is decided by the `Route` it is given.
 */
import type { AppendUploadRequest } from '../../proto/generated/entrepot/storage/v1/AppendUploadRequest.js';
import type { AppendUploadResponse__Output } from '../../proto/generated/entrepot/storage/v1/AppendUploadResponse.js';
import type { DescribeResponse__Output } from '../../proto/generated/entrepot/storage/v1/DescribeResponse.js';
import type { ListBlobsResponse__Output } from '../../proto/generated/entrepot/storage/v1/ListBlobsResponse.js';
import type { ReadBlobResponse__Output } from '../../proto/generated/entrepot/storage/v1/ReadBlobResponse.js';
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { type Digest, type DigestAlgorithm, parseDigest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import { type CallContext, callMetadata, callUnary } from '../rpc/call.js';
import { cancelCall } from '../rpc/cancel.js';
import { fail, fromServiceError, fromStatusMessage, hasReason, StatusError } from '../rpc/errors.js';
import { messageWriter, readMessages } from '../rpc/stream.js';
import { nextInTime } from './silence.js';

/** Bytes of an upload that survive the node, and the opaque session with which any node goes on after them. */
export interface Checkpoint {
  readonly offset: number;
  readonly session: Buffer;
}

/** A blob that is being read; `size` is the whole blob's, whatever part is read. Iterate, or abort the call's signal. */
export interface BlobBody {
  readonly size: number;
  readonly bytes: AsyncIterable<Buffer>;
}

export interface BlobEntry {
  readonly digest: Digest;
  readonly size: number;
  readonly modifiedMs: number;
}

/** The outcome of one blob of a batch. */
export type BatchItem<T> = { readonly value: T } | { readonly error: StatusError };

/** What a call needs from a node: reading goes on when a store cannot be written to. */
export type Need = 'read' | 'write';

/** Decides which node a call goes to. */
export interface Route {
  /** Runs `operation` on a node; on a transient failure it may run it again on another. */
  anyNode<T>(need: Need, operation: (stub: StorageClient) => Promise<T>, affinity?: string): Promise<T>;
  /**
   * Runs `operation` on one node, once: its input cannot be had a second time. It is told how many bytes of an upload that
   * node takes in one message.
   */
  oneNode<T>(
    need: Need,
    operation: (stub: StorageClient, maxAppendBytes: number) => Promise<T>,
    affinity?: string,
  ): Promise<T>;
  /**
   * As `anyNode`, for a read whose bytes come after the operation has resolved: it calls `done` when they are over.
   * `striped`: it is one of many that are read side by side.
   */
  stream<T>(operation: (stub: StorageClient, done: () => void) => Promise<T>, striped?: boolean): Promise<T>;
}

/** A reader that asks for data and gets none for so long goes elsewhere. The clock stands while nobody asks. */
const STALL_MS = 2_000;

/** A body that nobody begins to read is given up after this time. */
const UNREAD_MS = 30_000;

/** Hashing or copying a large blob inside its region takes minutes: 20 GiB at 100 MB/s. */
const LONG_DEADLINE_MS = 10 * 60_000;

/** 3 MiB at the most, many side by side. */
const BATCH_DEADLINE_MS = 60_000;

/** What a caller may say about a call to a location. */
export interface StoreContext extends CallContext {
  /** Calls with the same word go to the same node while it lives: an upload's node has its running hash. */
  readonly affinity?: string | undefined;
  /** Whether this is one of many reads side by side, each taken in as fast as it comes: they share many connections. */
  readonly striped?: boolean;
  /** Whether its bytes follow those of the reads before it on its connection (ReadBlobRequest.in_turn). */
  readonly inTurn?: boolean;
  /** How long a read bears to get nothing, in milliseconds, while it asks; default 2 s. */
  readonly silenceMs?: number;
  /** Whether it bears it longer as long as other reads get something from this location: then the link is only crowded. */
  readonly bearsCrowd?: boolean;
}

type Context = StoreContext | AbortSignal | undefined;

/** One location's blobs, over gRPC. Methods throw StatusErrors as the contract in storage.proto says. */
export class RemoteStore {
  readonly #route: Route;
  /** When a read last got something. */
  #heardAt = Number.NEGATIVE_INFINITY;

  constructor(route: Route) {
    this.#route = route;
  }

  describe(context?: Context): Promise<DescribeResponse__Output> {
    return this.#route.anyNode('read', stub => callUnary(stub.describe.bind(stub), {}, asContext(context)));
  }

  /** Size of a blob in bytes; undefined if it is not here. */
  async stat(digest: Digest, context?: Context): Promise<number | undefined> {
    try {
      return await this.#route.anyNode('read', async stub => {
        const { size } = await callUnary(stub.statBlob.bind(stub), { digest }, asContext(context));
        return asSize(size);
      });
    } catch (error) {
      if (hasReason(error, 'BLOB_UNKNOWN')) return undefined;
      throw error;
    }
  }

  /** Those of `digests` (at most 1,000) that are not here. */
  async findMissing(digests: Digest[], context?: Context): Promise<Digest[]> {
    const answer = await this.#route.anyNode('read', stub =>
      callUnary(stub.findMissingBlobs.bind(stub), { digests }, asContext(context)),
    );
    return answer.missingDigests.map(asDigest);
  }

  /**
   * Opens a blob; resolves once its size is here and, unless they wait for their turn, its first bytes. Fails as `stat`
   * would, or with OFFSET beyond its end.
   */
  read(digest: Digest, range: { offset: number; limit?: number | undefined }, context?: Context): Promise<BlobBody> {
    if (range.limit === 0) return this.#openEmptyRange(digest, range.offset, context);
    const { signal, striped, inTurn = false, silenceMs = STALL_MS, bearsCrowd = false, ...rest } = asContext(context);
    const isHeard = () => bearsCrowd && performance.now() - this.#heardAt < silenceMs;
    return this.#route.stream(async (stub, done) => {
      const wanted = { digest, offset: range.offset, limit: range.limit ?? 0, inTurn };
      const call = stub.readBlob(wanted, callMetadata(rest));
      const messages = readMessages<ReadBlobResponse__Output>(call, signal);
      const next = async () => {
        const message = await nextInTime(messages, silenceMs, () => cancelCall(call), isHeard);
        this.#heardAt = performance.now();
        return message;
      };
      const first = await next();
      if (first.done) throw fail.corrupt(digest, 'the node ended the stream without a size');
      const size = asSize(first.value.size);
      const unread = setTimeout(() => {
        cancelCall(call);
        done();
      }, UNREAD_MS).unref();
      const firstData = first.value.data;
      async function* bytes(): AsyncGenerator<Buffer> {
        clearTimeout(unread);
        try {
          if (firstData.length > 0) yield firstData;
          while (true) {
            const message = await next();
            if (message.done) return;
            if (message.value.data.length > 0) yield message.value.data;
          }
        } finally {
          await messages.return();
          done();
        }
      }
      return { size, bytes: bytes() };
    }, striped);
  }

  /** On the wire a limit of 0 means all: an empty range is answered here, with the same checks. */
  async #openEmptyRange(digest: Digest, offset: number, context: Context): Promise<BlobBody> {
    const size = await this.stat(digest, context);
    if (size === undefined) throw fail.blobUnknown(digest);
    if (offset > size) throw fail.offset(`the blob has ${size} bytes, and reading was to begin at ${offset}`);
    return { size, bytes: (async function* () {})() };
  }

  /**
   * Reads small blobs (≤ 1 MiB each) in one round trip; the answers are in the order asked. Many may run side by side. All
   * of it must be here in time.
   */
  async readBatch(digests: Digest[], context?: Context, deadlineMs = BATCH_DEADLINE_MS): Promise<BatchItem<Buffer>[]> {
    const answer = await this.#route.stream(
      (stub, done) =>
        callUnary(stub.batchReadBlobs.bind(stub), { digests }, asContext(context), deadlineMs).finally(done),
      true,
    );
    if (answer.blobs.length !== digests.length)
      throw fail.corrupt('a batch', 'the node answered another number of blobs');
    return answer.blobs.map(blob => {
      const error = fromStatusMessage(blob.status);
      return error ? { error } : { value: blob.data };
    });
  }

  /** Writes small blobs (≤ 1 MiB each, ≤ 3 MiB in all), verified and durable when their item has no error. */
  async writeBatch(blobs: { digest: Digest; data: Buffer }[], context?: Context): Promise<BatchItem<void>[]> {
    const answer = await this.#route.anyNode('write', stub =>
      callUnary(stub.batchWriteBlobs.bind(stub), { blobs }, asContext(context), 60_000),
    );
    if (answer.results.length !== blobs.length)
      throw fail.corrupt('a batch', 'the node answered another number of blobs');
    return answer.results.map(result => {
      const error = fromStatusMessage(result.status);
      return error ? { error } : { value: undefined };
    });
  }

  /** Begins an upload. */
  async begin(
    plan: { digest?: Digest | undefined; algorithm?: DigestAlgorithm | undefined },
    context?: Context,
  ): Promise<Checkpoint> {
    const { session } = await this.#route.anyNode('write', stub =>
      callUnary(
        stub.startUpload.bind(stub),
        { digest: plan.digest ?? '', algorithm: plan.algorithm ?? '' },
        asContext(context),
      ),
    );
    return { offset: 0, session };
  }

  /**
   * Appends `source` to the upload; resolves to the checkpoint after its last byte. Calls `onCheckpoint` on the way.
   * When the source fails, what it gave is kept: the last checkpoint covers it, and then its error is thrown.
   */
  append(
    session: Buffer,
    source: AsyncIterable<Buffer>,
    onCheckpoint: (checkpoint: Checkpoint) => void,
    context?: Context,
    offset?: number,
  ): Promise<Checkpoint> {
    const { signal, affinity, ...rest } = asContext(context);
    const run = async (stub: StorageClient, maxAppendBytes: number) => {
      const call = stub.appendUpload(callMetadata(rest));
      const writer = messageWriter<AppendUploadRequest>(call, signal);
      let last: Checkpoint | undefined;
      const receive = async () => {
        for await (const message of readMessages<AppendUploadResponse__Output>(call, signal)) {
          last = { offset: asSize(message.offset), session: message.session };
          onCheckpoint(last);
        }
      };
      let sourceError: unknown;
      const send = async () => {
        await writer.write({ header: offset === undefined ? { session } : { session, offset } });
        const failure = await pump(source, maxAppendBytes, data => writer.write({ data }));
        sourceError = failure?.error;
        writer.end();
      };
      const received = receive();
      const sent = send();
      // A call that fails ends this at once, though the source may be silent; the source's owner then ends it.
      sent.catch(() => {});
      try {
        await Promise.all([received, Promise.race([sent, received])]);
      } catch (error) {
        cancelCall(call);
        throw fromServiceError(error);
      } finally {
        writer.release();
      }
      if (sourceError) throw sourceError;
      if (!last) throw fail.corrupt('an upload', 'the node ended the stream without a checkpoint');
      return last;
    };
    return this.#route.oneNode('write', run, affinity);
  }

  /** How far an upload is: `known`, or a later checkpoint that the node with this affinity has given out. */
  async newestCheckpoint(known: Checkpoint, context?: Context): Promise<Checkpoint> {
    const told = asContext(context);
    try {
      const { offset, session } = await this.#route.anyNode(
        'write',
        stub => callUnary(stub.findCheckpoint.bind(stub), { session: known.session }, told),
        told.affinity,
      );
      return { offset: asSize(offset), session };
    } catch (error) {
      // A node of an older version: they are replaced one by one.
      if (error instanceof StatusError && error.status === 'UNIMPLEMENTED') return known;
      throw error;
    }
  }

  /** Ends the upload; resolves to the blob's size once it is verified and visible. */
  async commit(session: Buffer, digest: Digest, context?: Context): Promise<number> {
    const told = asContext(context);
    const { size } = await this.#route.anyNode(
      'write',
      stub => callUnary(stub.commitUpload.bind(stub), { session, digest }, told, LONG_DEADLINE_MS),
      told.affinity,
    );
    return asSize(size);
  }

  /** Gives up an upload; fine if it is gone. */
  async abort(session: Buffer, context?: Context): Promise<void> {
    await this.#route.anyNode('write', stub => callUnary(stub.abortUpload.bind(stub), { session }, asContext(context)));
  }

  /** Deletes a blob; fine if it is not here. */
  async remove(digest: Digest, context?: Context): Promise<void> {
    const [error] = await this.removeBatch([digest], context);
    if (error) throw error;
  }

  /** Deletes blobs (at most 1,000); fine if they are not here. Resolves to what kept it from deleting some. */
  async removeBatch(digests: readonly Digest[], context?: Context): Promise<StatusError[]> {
    const { results } = await this.#route.anyNode('write', stub =>
      callUnary(stub.deleteBlobs.bind(stub), { digests: [...digests] }, asContext(context), 60_000),
    );
    if (results.length !== digests.length) throw fail.corrupt('a batch', 'the node answered another number of blobs');
    return results.flatMap(result => fromStatusMessage(result.status) ?? []);
  }

  /** All blobs after `after`, in the order of algorithm and hex digits. */
  async *list(after: Digest | undefined, context?: Context): AsyncGenerator<BlobEntry> {
    const { signal, ...rest } = asContext(context);
    const call = await this.#route.anyNode('read', async stub =>
      stub.listBlobs({ after: after ?? '' }, callMetadata(rest)),
    );
    for await (const page of readMessages<ListBlobsResponse__Output>(call, signal)) {
      for (const { digest, size, modifiedMs } of page.blobs) {
        yield { digest: asDigest(digest), size: asSize(size), modifiedMs: asSize(modifiedMs) };
      }
    }
  }

  /** Hashes a blob where it is; resolves to its size. DATA_LOSS if it is not what its key says. */
  async verify(digest: Digest, context?: Context): Promise<number> {
    const { size } = await this.#route.anyNode('read', stub =>
      callUnary(stub.verifyBlob.bind(stub), { digest }, asContext(context), LONG_DEADLINE_MS),
    );
    return asSize(size);
  }
}

function asContext(context: Context): StoreContext {
  return context instanceof AbortSignal ? { signal: context } : (context ?? {});
}

function asDigest(text: string): Digest {
  const digest = parseDigest(text);
  if (!digest) throw fail.corrupt('an answer', 'the node named something that is not a digest');
  return digest;
}

/**
 * Hands the source's bytes on, at most `most` at a time. Resolves to the source's own failure, if it had one; rejects when
 * `write` does.
 */
async function pump(
  source: AsyncIterable<Buffer>,
  most: number,
  write: (frame: Buffer) => Promise<void>,
): Promise<{ error: unknown } | undefined> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    while (true) {
      let next: IteratorResult<Buffer>;
      try {
        next = await iterator.next();
      } catch (error) {
        return { error };
      }
      if (next.done) return undefined;
      for (let at = 0; at < next.value.length; at += most) await write(next.value.subarray(at, at + most));
    }
  } finally {
    // Not awaited: a generator that is stuck in `next` would never answer.
    void iterator.return?.().catch(() => {});
  }
}
