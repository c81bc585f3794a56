/**
 * What an engine is: the methods by which a node keeps blobs in one kind of store.
 *
 * An engine knows keys and bytes, nothing of gRPC, databases or other locations. The service in front of it validates
 * what callers send, limits concurrency and logs; the engine owns the store's protocol, its retries and its errors.
 *
 * Contract, for all methods:
 *  - Errors are StatusErrors made with `fail` of lib/rpc/errors: `blobUnknown`, `uploadUnknown`, `offset`,
 *    `digestMismatch`, `corrupt`, `diskFull`, `storeUnreachable`, `busy`. Anything else counts as a bug.
 *  - An aborted signal ends the method soon, with `fail.cancelled()`, and frees what it holds. What was acknowledged
 *    before stays true.
 *  - Any method may be called on any node of the location, in any order, at the same time as any other.
 *  - Every method may be killed between any two of its steps. What it leaves behind is either a whole blob, or
 *    something that `staleUploads` finds.
 */
import type { Digest, DigestAlgorithm } from '../../lib/oci/digest.js';

/** What an upload's caller hands back to go on: opaque to everyone but the engine, at most 64 KiB, safe to keep in a database. */
export type Session = Buffer;

/** Bytes of an upload that survive this process, and how to go on after them. */
export interface Checkpoint {
  /** Size of the upload so far, in bytes. */
  readonly offset: number;
  readonly session: Session;
}

/** A part of a blob. */
export interface ByteRange {
  /** The first byte, from 0. */
  readonly offset: number;
  /** How many bytes at most; undefined for all that follow. */
  readonly limit?: number | undefined;
}

/** A blob that is being read. */
export interface BlobBody {
  /** Size of the whole blob, in bytes, whatever part is read. */
  readonly size: number;
  /**
   * The bytes of the range, in pieces of any size that the consumer may keep. Ending the iteration early frees what it
   * holds; a body that is never iterated holds nothing.
   */
  readonly bytes: AsyncIterable<Buffer>;
}

/** A blob as the store lists it. */
export interface BlobEntry {
  readonly digest: Digest;
  readonly size: number;
  readonly modifiedMs: number;
}

/** What is known about an upload when it begins. */
export interface UploadPlan {
  /** The digest that the bytes will have, if known: replication knows it. */
  readonly digest?: Digest | undefined;
  /** Otherwise the algorithm that the closing digest probably has. */
  readonly algorithm?: DigestAlgorithm | undefined;
}

/** An upload that nobody went on with. */
export interface StaleUpload {
  /** A session good for `abort`. */
  readonly session: Session;
  /** When it was last written to, in milliseconds since 1970, by the store's clock. */
  readonly modifiedMs: number;
}

/** The outcome of a probe. */
export interface Probe {
  /** The store's identity: a UUID in a marker object; the first probe of a new store makes it. Undefined if that failed. */
  readonly locationId: string | undefined;
  /** Why the store cannot be read now; undefined if it can. */
  readonly readError?: Error | undefined;
  /** Why it cannot be written to now (a full disk can still be read); undefined if it can. */
  readonly writeError?: Error | undefined;
}

/** What an engine can do beyond the contract's core, as `Describe` tells it. */
export interface EngineCapabilities {
  /** Chunks should be at least this large, in bytes; 0 if any size is as good. */
  readonly minChunkBytes: number;
  /** The largest blob it can hold, in bytes; 0 if it knows no limit. */
  readonly maxBlobBytes: number;
}

export interface Engine {
  /** Quay's driver name, for example `LocalStorage`. */
  readonly driver: string;
  readonly capabilities: EngineCapabilities;

  /** Size of a blob in bytes; undefined if it is not here. */
  stat(digest: Digest, signal?: AbortSignal): Promise<number | undefined>;

  /** Opens a blob. `blobUnknown` if it is not here, `offset` if the range begins beyond its end (at its end is fine: no bytes). */
  read(digest: Digest, range: ByteRange, signal?: AbortSignal): Promise<BlobBody>;

  /** Deletes a blob; fine if it is not here. Readers that have it open may finish. */
  remove(digest: Digest, signal?: AbortSignal): Promise<void>;

  /** All blobs after `after`, in the order of algorithm and hex digits. Keys that are not blobs are passed over. */
  list(after: Digest | undefined, signal?: AbortSignal): AsyncIterable<BlobEntry>;

  /** Begins an upload. */
  begin(plan: UploadPlan, signal?: AbortSignal): Promise<Checkpoint>;

  /**
   * Appends `source` to the upload, and resolves to the checkpoint after its last byte. Calls `onCheckpoint` in between,
   * as bytes become durable. `uploadUnknown` if the upload is gone. If it fails, or `source` does, all that was
   * acknowledged by a checkpoint is still there, and the upload can go on from any checkpoint's session.
   *
   * Two writers of one upload never mix bytes: each session stands for exactly the bytes that led to it.
   */
  append(
    session: Session,
    source: AsyncIterable<Buffer>,
    onCheckpoint: (checkpoint: Checkpoint) => void,
    signal?: AbortSignal,
  ): Promise<Checkpoint>;

  /** The name of the session's upload: the same in all of its sessions, and in those of no other one. `malformed` if it is none. */
  nameOf(session: Session): string;

  /**
   * Ends the upload: verifies that exactly the session's bytes hash to `digest`, then makes the blob visible in one step
   * that survives power loss, and removes the upload. Resolves to the blob's size.
   * `digestMismatch` if they do not hash to it; the upload stays until it is given up, so that committing again says the
   * same. Committing again after it succeeded is fine as long as the blob is there, has the session's size, and is intact.
   */
  commit(session: Session, digest: Digest, signal?: AbortSignal): Promise<number>;

  /** Gives up an upload and frees what it holds; fine if it is gone. */
  abort(session: Session, signal?: AbortSignal): Promise<void>;

  /** Uploads (and leftovers of killed commits) that were last written to before `before`, in milliseconds since 1970. */
  staleUploads(before: number, signal?: AbortSignal): AsyncIterable<StaleUpload>;

  /** Writes, reads back and deletes a key of its own. Never throws for a store that does not work: it reports. */
  probe(signal?: AbortSignal): Promise<Probe>;
}

/** What an engine may offer in addition. */
export interface SigningEngine extends Engine {
  /** An address from which the blob can be fetched for `ttlSeconds`. */
  sign(digest: Digest, ttlSeconds: number, signal?: AbortSignal): Promise<string>;
}

export function canSign(engine: Engine): engine is SigningEngine {
  return 'sign' in engine && typeof engine.sign === 'function';
}
