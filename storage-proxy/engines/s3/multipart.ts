/** The requests about multipart uploads: an object that is sent in parts, and is there once it is completed. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { fail } from '../../../lib/rpc/errors.js';
import { isGone, isRefusal, NotImplemented } from './errors.js';
import { COMPLETE, copyLimit, fineIfMissing, type Requests, SEND } from './requests.js';
import type { Part } from './session.js';

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

export class MultipartUploads {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** Begins a multipart upload; its id. */
  async create(key: string, signal?: AbortSignal): Promise<string> {
    const command = new CreateMultipartUploadCommand({
      ...this.#requests.at(key),
      ...this.#requests.settings.encryption,
    });
    const answer = await this.#requests.quick('CreateMultipartUpload', signal, (client, options) =>
      client.send(command, options),
    );
    if (!answer.UploadId) throw fail.storeUnreachable('the store answered no id for a multipart upload');
    return answer.UploadId;
  }

  /** Sends a part; one of the same number takes its place. */
  async uploadPart(key: string, uploadId: string, number: number, body: Buffer, signal?: AbortSignal): Promise<Part> {
    const input = { ...this.#requests.at(key), UploadId: uploadId, PartNumber: number, Body: body };
    const answer = await this.#requests.call('UploadPart', SEND, signal, (client, options) =>
      client.send(new UploadPartCommand(input), options),
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
      ...this.#requests.at(key),
      UploadId: uploadId,
      PartNumber: number,
      CopySource: this.#requests.source(source.key),
      CopySourceRange: `bytes=${from}-${from + length - 1}`,
    });
    const answer = await this.#requests.call('UploadPartCopy', copyLimit(length), signal, async (client, options) => {
      try {
        return await client.send(command, options);
      } catch (error) {
        // Ceph lets a role read what another session of it has written, and not copy it.
        throw isRefusal(error) ? new NotImplemented('the store refuses to copy') : error;
      }
    });
    return { etag: etagOf(answer.CopyPartResult?.ETag), size: length };
  }

  /** Makes the object from exactly these parts, numbered from 1. Parts beyond them, which others may have written, are dropped. */
  async complete(key: string, uploadId: string, parts: readonly Part[], signal?: AbortSignal): Promise<void> {
    const Parts = parts.map(({ etag }, index) => ({ PartNumber: index + 1, ETag: `"${etag}"` }));
    const command = new CompleteMultipartUploadCommand({
      ...this.#requests.at(key),
      UploadId: uploadId,
      MultipartUpload: { Parts },
    });
    await this.#requests.call('CompleteMultipartUpload', COMPLETE, signal, (client, options) =>
      client.send(command, options),
    );
  }

  /** Gives up a multipart upload; fine if it is gone. */
  async abort(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    await fineIfMissing(
      this.#requests.quick('AbortMultipartUpload', signal, (client, options) =>
        client.send(new AbortMultipartUploadCommand({ ...this.#requests.at(key), UploadId: uploadId }), options),
      ),
    );
  }

  /** All unfinished multipart uploads to keys that begin with `prefix`. */
  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<OpenUpload> {
    let KeyMarker: string | undefined;
    let UploadIdMarker: string | undefined;
    do {
      const input = { Bucket: this.#requests.settings.bucket, Prefix: prefix, KeyMarker, UploadIdMarker };
      const page = await this.#requests.quick('ListMultipartUploads', signal, (client, options) =>
        client.send(new ListMultipartUploadsCommand(input), options),
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
      const input = { ...this.#requests.at(key), UploadId: uploadId, PartNumberMarker };
      const page = await this.#requests.quick('ListParts', signal, (client, options) =>
        client.send(new ListPartsCommand(input), options),
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
}

/** An entity tag without its quotes. */
function etagOf(etag: string | undefined): string {
  if (!etag) throw fail.storeUnreachable('the store answered no entity tag for a part');
  return etag.replaceAll('"', '');
}
