/**
 * The requests that the engine sends to its bucket: one method for each kind, with its time limit. They throw
 * StatusErrors, and `ObjectMissing` where an object is not there.
 *
 * Two limits bound each: one for an attempt, after which the SDK tries again, and one for all attempts together. The
 * SDK's own have none at all.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import type { S3Settings } from '../../../lib/config/engines/s3.js';
import { fail } from '../../../lib/rpc/errors.js';
import { makeClient } from './client.js';
import { withDeadline } from './deadline.js';
import { isGone, isRefusal, NotImplemented, ObjectMissing, s3Error } from './errors.js';
import type { Part } from './session.js';

interface Limit {
  /** For one attempt, until the answer begins. */
  readonly attemptMs: number;
  /** For all attempts, until the answer has ended. */
  readonly totalMs: number;
}

/** A few bytes each way: stores answer within 100 ms, and seconds mean trouble. Twice as long with its retries: bounded by what a client waits. */
const QUICK: Limit = { attemptMs: 5_000, totalMs: 12_000 };

/** Megabytes to be sent: 8 MiB in 20 s is 3 Mbit/s, slower than any bucket that is worth writing to. */
const SEND: Limit = { attemptMs: 20_000, totalMs: 30_000 };

/** Putting parts together is quick on some stores, and a copy of everything on others. AWS says it may take minutes. */
const COMPLETE: Limit = { attemptMs: 120_000, totalMs: 240_000 };

/** A copy inside the store runs at the speed of its disks; below 20 MB/s something is wrong. */
function copyLimit(bytes: number): Limit {
  const attemptMs = 30_000 + bytes / 20_000;
  return { attemptMs, totalMs: 2 * attemptMs };
}

/** An object as the bucket lists it. */
export interface Listed {
  readonly key: string;
  readonly size: number;
  readonly modifiedMs: number;
}

/** A multipart upload that has neither been completed nor aborted. */
export interface OpenUpload {
  readonly key: string;
  readonly uploadId: string;
  readonly modifiedMs: number;
}

/** A part as the store lists it. */
export interface ListedPart extends Part {
  readonly modifiedMs: number;
}

/** Deleting takes at most so many keys in one request. */
const DELETE_KEYS = 1_000;

/** For so long we believe that the bucket is still there. */
const BUCKET_TRUST_MS = 10_000;

export class BucketClient {
  readonly #client: S3Client;
  readonly #settings: S3Settings;
  #seenMs = 0;

  constructor(settings: S3Settings) {
    this.#settings = settings;
    this.#client = makeClient(settings);
  }

  /** The object's size; undefined if it is not there. */
  async head(key: string, signal?: AbortSignal): Promise<number | undefined> {
    try {
      const answer = await this.#quick('HeadObject', signal, options =>
        this.#client.send(new HeadObjectCommand(this.#at(key)), options),
      );
      return answer.ContentLength ?? 0;
    } catch (error) {
      if (!(error instanceof ObjectMissing)) throw error;
      // The answer to HEAD has no body, so it does not say whether the object or the whole bucket is missing.
      await this.#assertBucket(signal);
      return undefined;
    }
  }

  /** Opens a part of an object; `signal` ends it, also once it is open. Only the beginning of the answer has a time limit. */
  async get(key: string, from: number, length: number, signal: AbortSignal): Promise<NodeJS.ReadableStream> {
    try {
      const answer = await this.#client.send(
        new GetObjectCommand({ ...this.#at(key), Range: `bytes=${from}-${from + length - 1}` }),
        { abortSignal: signal, requestTimeout: QUICK.attemptMs },
      );
      if (answer.ContentLength !== length)
        throw fail.storeUnreachable(`the store answered ${answer.ContentLength} bytes where ${length} were asked for`);
      return answer.Body as unknown as NodeJS.ReadableStream;
    } catch (error) {
      throw s3Error(error, this.#settings.names);
    }
  }

  /** A small object as a whole; undefined if it is not there. */
  async getSmall(key: string, signal?: AbortSignal, limit = QUICK): Promise<Buffer | undefined> {
    try {
      return await this.#call('GetObject', limit, signal, async options => {
        const answer = await this.#client.send(new GetObjectCommand(this.#at(key)), options);
        return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
      });
    } catch (error) {
      if (error instanceof ObjectMissing) return undefined;
      throw error;
    }
  }

  async put(key: string, body: Buffer, signal?: AbortSignal): Promise<void> {
    const command = new PutObjectCommand({ ...this.#at(key), ...this.#settings.encryption, Body: body });
    const answer = await this.#call('PutObject', SEND, signal, options => this.#client.send(command, options));
    // Some stores pass over what they cannot do. The canary comes by here, so the node takes no blob then.
    const { encryption } = this.#settings;
    if (encryption && answer.ServerSideEncryption !== encryption.ServerSideEncryption)
      throw fail.storeUnreachable(
        `the store does not encrypt as it is asked to (${encryption.ServerSideEncryption}): see server_side_encryption`,
      );
  }

  /** Puts an object unless there is one: then it throws `ObjectExists`; `NotImplemented` where the store cannot say. */
  async putNew(key: string, body: Buffer, signal?: AbortSignal): Promise<void> {
    const input = { ...this.#at(key), ...this.#settings.encryption, Body: body, IfNoneMatch: '*' };
    await this.#quick('PutObject', signal, options => this.#client.send(new PutObjectCommand(input), options));
  }

  /** Copies an object of up to 5 GiB. */
  async copy(from: string, to: string, size: number, signal?: AbortSignal): Promise<void> {
    const input = { ...this.#at(to), ...this.#settings.encryption, CopySource: this.#source(from) };
    await this.#call('CopyObject', copyLimit(size), signal, options =>
      this.#client.send(new CopyObjectCommand(input), options),
    );
  }

  /** Deletes an object; fine if it is not there. */
  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await this.#fineIfMissing(
      this.#quick('DeleteObject', signal, options =>
        this.#client.send(new DeleteObjectCommand(this.#at(key)), options),
      ),
    );
  }

  /** Deletes any number of objects. */
  async deleteAll(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < keys.length; at += DELETE_KEYS) {
      const Objects = keys.slice(at, at + DELETE_KEYS).map(Key => ({ Key }));
      const command = new DeleteObjectsCommand({ Bucket: this.#settings.bucket, Delete: { Objects, Quiet: true } });
      const answer = await this.#call('DeleteObjects', SEND, signal, options => this.#client.send(command, options));
      const failed = answer.Errors?.find(({ Code }) => Code !== 'NoSuchKey');
      if (failed) throw s3Error(Object.assign(new Error(), { name: failed.Code ?? 'unknown' }), this.#settings.names);
    }
  }

  /** All objects whose keys begin with `prefix`, in the order of their keys. */
  async *list(prefix: string, after: string | undefined, signal?: AbortSignal): AsyncGenerator<Listed> {
    let token: string | undefined;
    do {
      const input = { Bucket: this.#settings.bucket, Prefix: prefix, ContinuationToken: token, StartAfter: after };
      const page = await this.#quick('ListObjectsV2', signal, options =>
        this.#client.send(new ListObjectsV2Command(input), options),
      );
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        if (Key !== undefined) yield { key: Key, size: Size ?? 0, modifiedMs: LastModified?.getTime() ?? 0 };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  /** All unfinished multipart uploads to keys that begin with `prefix`. */
  async *listUploads(prefix: string, signal?: AbortSignal): AsyncGenerator<OpenUpload> {
    let KeyMarker: string | undefined;
    let UploadIdMarker: string | undefined;
    do {
      const input = { Bucket: this.#settings.bucket, Prefix: prefix, KeyMarker, UploadIdMarker };
      const page = await this.#quick('ListMultipartUploads', signal, options =>
        this.#client.send(new ListMultipartUploadsCommand(input), options),
      );
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key?.startsWith(prefix) && UploadId) {
          yield { key: Key, uploadId: UploadId, modifiedMs: Initiated?.getTime() ?? 0 };
        }
      }
      KeyMarker = page.IsTruncated ? page.NextKeyMarker : undefined;
      UploadIdMarker = page.IsTruncated ? page.NextUploadIdMarker : undefined;
    } while (KeyMarker !== undefined);
  }

  /** The parts of a multipart upload, in the order of their numbers; `uploadUnknown` if it is gone. */
  async listParts(key: string, uploadId: string, signal?: AbortSignal): Promise<ListedPart[]> {
    const parts: ListedPart[] = [];
    let PartNumberMarker: string | undefined;
    do {
      const input = { ...this.#at(key), UploadId: uploadId, PartNumberMarker };
      const page = await this.#quick('ListParts', signal, options =>
        this.#client.send(new ListPartsCommand(input), options),
      );
      for (const { ETag, Size, LastModified } of page.Parts ?? [])
        parts.push({ etag: etagOf(ETag), size: Size ?? 0, modifiedMs: LastModified?.getTime() ?? 0 });
      PartNumberMarker = page.IsTruncated ? page.NextPartNumberMarker : undefined;
    } while (PartNumberMarker !== undefined);
    return parts;
  }

  /** When a part was last written to a multipart upload; 0 if never, or if the upload is gone. */
  async lastPart(key: string, uploadId: string, signal?: AbortSignal): Promise<number> {
    try {
      const parts = await this.listParts(key, uploadId, signal);
      return parts.reduce((newest, { modifiedMs }) => Math.max(newest, modifiedMs), 0);
    } catch (error) {
      if (!isGone(error)) throw error;
      return 0;
    }
  }

  async createUpload(key: string, signal?: AbortSignal): Promise<string> {
    const command = new CreateMultipartUploadCommand({ ...this.#at(key), ...this.#settings.encryption });
    const answer = await this.#quick('CreateMultipartUpload', signal, options => this.#client.send(command, options));
    if (!answer.UploadId) throw fail.storeUnreachable('the store answered no id for a multipart upload');
    return answer.UploadId;
  }

  async uploadPart(key: string, uploadId: string, number: number, body: Buffer, signal?: AbortSignal): Promise<Part> {
    const input = { ...this.#at(key), UploadId: uploadId, PartNumber: number, Body: body };
    const answer = await this.#call('UploadPart', SEND, signal, options =>
      this.#client.send(new UploadPartCommand(input), options),
    );
    return { etag: etagOf(answer.ETag), size: body.length };
  }

  /** Makes a part from a range of an object. `NotImplemented` if the store cannot, or will not. */
  async copyPart(
    key: string,
    uploadId: string,
    number: number,
    source: { readonly key: string; readonly from: number; readonly length: number },
    signal?: AbortSignal,
  ): Promise<Part> {
    const { from, length } = source;
    const command = new UploadPartCopyCommand({
      ...this.#at(key),
      UploadId: uploadId,
      PartNumber: number,
      CopySource: this.#source(source.key),
      CopySourceRange: `bytes=${from}-${from + length - 1}`,
    });
    const answer = await this.#call('UploadPartCopy', copyLimit(length), signal, async options => {
      try {
        return await this.#client.send(command, options);
      } catch (error) {
        // Ceph lets a role read what another session of it has written, and not copy it.
        throw isRefusal(error) ? new NotImplemented('the store refuses to copy') : error;
      }
    });
    return { etag: etagOf(answer.CopyPartResult?.ETag), size: length };
  }

  /** Makes the object from exactly these parts, numbered from 1. Parts beyond them, which others may have written, are dropped. */
  async completeUpload(key: string, uploadId: string, parts: readonly Part[], signal?: AbortSignal): Promise<void> {
    const Parts = parts.map(({ etag }, index) => ({ PartNumber: index + 1, ETag: `"${etag}"` }));
    const command = new CompleteMultipartUploadCommand({
      ...this.#at(key),
      UploadId: uploadId,
      MultipartUpload: { Parts },
    });
    await this.#call('CompleteMultipartUpload', COMPLETE, signal, options => this.#client.send(command, options));
  }

  /** Gives up a multipart upload; fine if it is gone. */
  async abortUpload(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    await this.#fineIfMissing(
      this.#quick('AbortMultipartUpload', signal, options =>
        this.#client.send(new AbortMultipartUploadCommand({ ...this.#at(key), UploadId: uploadId }), options),
      ),
    );
  }

  async #assertBucket(signal: AbortSignal | undefined): Promise<void> {
    if (Date.now() - this.#seenMs < BUCKET_TRUST_MS) return;
    try {
      await this.#quick('HeadBucket', signal, options =>
        this.#client.send(new HeadBucketCommand({ Bucket: this.#settings.bucket }), options),
      );
      this.#seenMs = Date.now();
    } catch (error) {
      if (!(error instanceof ObjectMissing)) throw error;
      throw fail.storeUnreachable(`the bucket does not exist: see ${this.#settings.names.bucket}`);
    }
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#settings.bucket, Key: key };
  }

  #source(key: string): string {
    return `${this.#settings.bucket}/${key}`.split('/').map(encodeURIComponent).join('/');
  }

  #quick<T>(what: string, signal: AbortSignal | undefined, send: (options: SendOptions) => Promise<T>): Promise<T> {
    return this.#call(what, QUICK, signal, send);
  }

  async #call<T>(
    what: string,
    limit: Limit,
    signal: AbortSignal | undefined,
    send: (options: SendOptions) => Promise<T>,
  ): Promise<T> {
    return withDeadline(what, limit.totalMs, signal, async abortSignal => {
      try {
        return await send({ abortSignal, requestTimeout: limit.attemptMs });
      } catch (error) {
        throw s3Error(error, this.#settings.names);
      }
    });
  }

  async #fineIfMissing(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}

interface SendOptions {
  readonly abortSignal: AbortSignal;
  readonly requestTimeout: number;
}

/** An entity tag without its quotes. */
function etagOf(etag: string | undefined): string {
  if (!etag) throw fail.storeUnreachable('the store answered no entity tag for a part');
  return etag.replaceAll('"', '');
}
