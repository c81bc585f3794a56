/** Finds out whether the bucket works, and which store it is. */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fail } from '../../../lib/rpc/errors.js';
import type { Probe } from '../engine.js';
import type { BucketClient } from './bucket.js';
import { NotImplemented, ObjectExists } from './errors.js';
import type { Keys } from './keys.js';

const LOCATION_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Longer than another node takes from finding no identity to having written one. */
const SETTLE_MS = 3_000;

export async function probe(bucket: BucketClient, keys: Keys, signal?: AbortSignal): Promise<Probe> {
  let locationId: string | undefined;
  try {
    locationId = await readIdentity(bucket, keys, signal);
  } catch (error) {
    const failure = asError(error);
    return { locationId: undefined, readError: failure, writeError: failure };
  }
  try {
    await tryWriting(bucket, keys, signal);
    locationId ??= await makeIdentity(bucket, keys, signal);
    return { locationId };
  } catch (error) {
    return { locationId, writeError: asError(error) };
  }
}

/** The store's identity; undefined if it has none yet. */
async function readIdentity(bucket: BucketClient, keys: Keys, signal?: AbortSignal): Promise<string | undefined> {
  const text = (await bucket.getSmall(keys.identity, signal))?.toString().trim();
  if (text !== undefined && !LOCATION_ID.test(text))
    throw fail.storeUnreachable('the marker .entrepot-location in the bucket is damaged');
  return text;
}

/**
 * Gives a new store its identity, or reads the one that another node has given it just now. Where the store cannot
 * write only what is not there yet, the last of the nodes that begin at the same time wins, and all wait for it.
 */
async function makeIdentity(bucket: BucketClient, keys: Keys, signal?: AbortSignal): Promise<string | undefined> {
  const text = Buffer.from(`${randomUUID()}\n`);
  try {
    await bucket.putNew(keys.identity, text, signal);
  } catch (error) {
    if (error instanceof NotImplemented) {
      await bucket.put(keys.identity, text, signal);
      await sleep(SETTLE_MS, undefined, { signal });
    } else if (!(error instanceof ObjectExists)) throw error;
  }
  return readIdentity(bucket, keys, signal);
}

/** Writes an object among the uploads, where the sweep finds it if we die; reads it back; deletes it. */
async function tryWriting(bucket: BucketClient, keys: Keys, signal?: AbortSignal): Promise<void> {
  const key = `${keys.upload(randomUUID())}probe`;
  const written = randomBytes(1024);
  try {
    await bucket.put(key, written, signal);
    if (!(await bucket.getSmall(key, signal))?.equals(written))
      throw fail.storeUnreachable('the store answers other bytes than were written to it');
  } finally {
    await bucket.delete(key, signal);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
