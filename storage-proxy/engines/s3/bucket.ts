/** The bucket, as the engine uses it: one method for each request about objects. Those about multipart uploads: multipart.ts. */
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import type { S3Settings } from '../../../lib/config/engines/s3.js';
import { fail } from '../../../lib/rpc/errors.js';
import { ObjectMissing, s3Error } from './errors.js';
import { MultipartUploads } from './multipart.js';
import { copyLimit, fineIfMissing, QUICK, Requests, SEND } from './requests.js';

/** An object as the bucket lists it. */
export interface Listed {
  readonly key: string;
  readonly size: number;
  readonly modifiedMs: number;
}

/** Deleting takes at most so many keys in one request. */
const DELETE_KEYS = 1_000;

/** For so long we believe that the bucket is still there. */
const BUCKET_TRUST_MS = 10_000;

export class BucketClient {
  readonly multipart: MultipartUploads;
  readonly #requests: Requests;
  #seenMs = 0;

  constructor(settings: S3Settings) {
    this.#requests = new Requests(settings);
    this.multipart = new MultipartUploads(this.#requests);
  }

  /** The object's size; undefined if it is not there. */
  async head(key: string, signal?: AbortSignal): Promise<number | undefined> {
    try {
      const answer = await this.#requests.quick('HeadObject', signal, (client, options) =>
        client.send(new HeadObjectCommand(this.#requests.at(key)), options),
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
    const input = { ...this.#requests.at(key), Range: `bytes=${from}-${from + length - 1}` };
    return this.#requests.open(signal, async (client, options) => {
      const answer = await client.send(new GetObjectCommand(input), options);
      if (answer.ContentLength !== length)
        throw fail.storeUnreachable(`the store answered ${answer.ContentLength} bytes where ${length} were asked for`);
      return answer.Body as unknown as NodeJS.ReadableStream;
    });
  }

  /** A small object as a whole; undefined if it is not there. */
  async getSmall(key: string, signal?: AbortSignal, limit = QUICK): Promise<Buffer | undefined> {
    try {
      return await this.#requests.call('GetObject', limit, signal, async (client, options) => {
        const answer = await client.send(new GetObjectCommand(this.#requests.at(key)), options);
        return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
      });
    } catch (error) {
      if (error instanceof ObjectMissing) return undefined;
      throw error;
    }
  }

  async put(key: string, body: Buffer, signal?: AbortSignal): Promise<void> {
    const command = new PutObjectCommand({
      ...this.#requests.at(key),
      ...this.#requests.settings.encryption,
      Body: body,
    });
    const answer = await this.#requests.call('PutObject', SEND, signal, (client, options) =>
      client.send(command, options),
    );
    // Some stores pass over what they cannot do. The canary comes by here, so the node takes no blob then.
    const { encryption } = this.#requests.settings;
    if (encryption && answer.ServerSideEncryption !== encryption.ServerSideEncryption)
      throw fail.storeUnreachable(
        `the store does not encrypt as it is asked to (${encryption.ServerSideEncryption}): see server_side_encryption`,
      );
  }

  /** Puts an object unless there is one: then it throws `ObjectExists`; `NotImplemented` where the store cannot say. */
  async putNew(key: string, body: Buffer, signal?: AbortSignal): Promise<void> {
    const input = { ...this.#requests.at(key), ...this.#requests.settings.encryption, Body: body, IfNoneMatch: '*' };
    await this.#requests.quick('PutObject', signal, (client, options) =>
      client.send(new PutObjectCommand(input), options),
    );
  }

  /** Copies an object of up to 5 GiB. */
  async copy(from: string, to: string, size: number, signal?: AbortSignal): Promise<void> {
    const input = {
      ...this.#requests.at(to),
      ...this.#requests.settings.encryption,
      CopySource: this.#requests.source(from),
    };
    await this.#requests.call('CopyObject', copyLimit(size), signal, (client, options) =>
      client.send(new CopyObjectCommand(input), options),
    );
  }

  /** Deletes an object; fine if it is not there. */
  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await fineIfMissing(
      this.#requests.quick('DeleteObject', signal, (client, options) =>
        client.send(new DeleteObjectCommand(this.#requests.at(key)), options),
      ),
    );
  }

  /** Deletes any number of objects. */
  async deleteAll(keys: readonly string[], signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < keys.length; at += DELETE_KEYS) {
      const Objects = keys.slice(at, at + DELETE_KEYS).map(Key => ({ Key }));
      const command = new DeleteObjectsCommand({
        Bucket: this.#requests.settings.bucket,
        Delete: { Objects, Quiet: true },
      });
      const answer = await this.#requests.call('DeleteObjects', SEND, signal, (client, options) =>
        client.send(command, options),
      );
      const failed = answer.Errors?.find(({ Code }) => Code !== 'NoSuchKey');
      if (failed)
        throw s3Error(Object.assign(new Error(), { name: failed.Code ?? 'unknown' }), this.#requests.settings.names);
    }
  }

  /** All objects whose keys begin with `prefix`, in the order of their keys. */
  async *list(prefix: string, after: string | undefined, signal?: AbortSignal): AsyncGenerator<Listed> {
    let token: string | undefined;
    do {
      const input = {
        Bucket: this.#requests.settings.bucket,
        Prefix: prefix,
        ContinuationToken: token,
        StartAfter: after,
      };
      const page = await this.#requests.quick('ListObjectsV2', signal, (client, options) =>
        client.send(new ListObjectsV2Command(input), options),
      );
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        if (Key !== undefined) yield { key: Key, size: Size ?? 0, modifiedMs: LastModified?.getTime() ?? 0 };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async #assertBucket(signal: AbortSignal | undefined): Promise<void> {
    if (Date.now() - this.#seenMs < BUCKET_TRUST_MS) return;
    try {
      await this.#requests.quick('HeadBucket', signal, (client, options) =>
        client.send(new HeadBucketCommand({ Bucket: this.#requests.settings.bucket }), options),
      );
      this.#seenMs = Date.now();
    } catch (error) {
      if (!(error instanceof ObjectMissing)) throw error;
      throw fail.storeUnreachable(`the bucket does not exist: see ${this.#requests.settings.names.bucket}`);
    }
  }
}
