/**
 * How requests are sent to the bucket. Two limits bound each: one for an attempt, after which the SDK tries again, and one
 * for all attempts together. The SDK's own have none at all. What they throw are StatusErrors, and `ObjectMissing` where an
 * object is not there.
 */
import type { S3Client } from '@aws-sdk/client-s3';
import type { S3Settings } from '../../../lib/config/engines/s3.js';
import { makeClient } from './client.js';
import { withDeadline } from './deadline.js';
import { isGone, s3Error } from './errors.js';

export interface Limit {
  /** For one attempt, until the answer begins. */
  readonly attemptMs: number;
  /** For all attempts, until the answer has ended. */
  readonly totalMs: number;
}

/** A few bytes each way: stores answer within 100 ms, and seconds mean trouble. Twice as long with its retries: bounded by what a client waits. */
export const QUICK: Limit = { attemptMs: 5_000, totalMs: 12_000 };

/** Megabytes to be sent: 8 MiB in 20 s is 3 Mbit/s, slower than any bucket that is worth writing to. */
export const SEND: Limit = { attemptMs: 20_000, totalMs: 30_000 };

/** Putting parts together is quick on some stores, and a copy of everything on others. AWS says it may take minutes. */
export const COMPLETE: Limit = { attemptMs: 120_000, totalMs: 240_000 };

/** A copy inside the store runs at the speed of its disks; below 20 MB/s something is wrong. */
export function copyLimit(bytes: number): Limit {
  const attemptMs = 30_000 + bytes / 20_000;
  return { attemptMs, totalMs: 2 * attemptMs };
}

export interface SendOptions {
  readonly abortSignal: AbortSignal;
  readonly requestTimeout: number;
}

/** Sends one command. */
export type Send<T> = (client: S3Client, options: SendOptions) => Promise<T>;

export class Requests {
  readonly settings: S3Settings;
  readonly #client: S3Client;

  constructor(settings: S3Settings) {
    this.settings = settings;
    this.#client = makeClient(settings);
  }

  /** Where an object is, as the commands say it. */
  at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.settings.bucket, Key: key };
  }

  /** What is to be copied, as the commands say it. */
  source(key: string): string {
    return `${this.settings.bucket}/${key}`.split('/').map(encodeURIComponent).join('/');
  }

  quick<T>(what: string, signal: AbortSignal | undefined, send: Send<T>): Promise<T> {
    return this.call(what, QUICK, signal, send);
  }

  call<T>(what: string, limit: Limit, signal: AbortSignal | undefined, send: Send<T>): Promise<T> {
    return withDeadline(what, limit.totalMs, signal, abortSignal =>
      this.#send(send, { abortSignal, requestTimeout: limit.attemptMs }),
    );
  }

  /** For an answer that is read for as long as it takes: only its beginning has a time limit. */
  open<T>(signal: AbortSignal, send: Send<T>): Promise<T> {
    return this.#send(send, { abortSignal: signal, requestTimeout: QUICK.attemptMs });
  }

  async #send<T>(send: Send<T>, options: SendOptions): Promise<T> {
    try {
      return await send(this.#client, options);
    } catch (error) {
      throw s3Error(error, this.settings.names);
    }
  }
}

/** For what deletes: it is fine if the object is not there. */
export async function fineIfMissing(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
