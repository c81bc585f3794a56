/** Finds out whether the store works, and which one it is. */
import { randomBytes, randomUUID } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../../../lib/rpc/errors.js';
import type { Probe } from '../engine.js';
import { guarded, isMissing } from './errors.js';
import type { Layout } from './layout.js';

const LOCATION_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export async function probe(layout: Layout): Promise<Probe> {
  let locationId: string | undefined;
  try {
    locationId = await readMarker(layout);
  } catch (error) {
    const failure = asError(error);
    return { locationId: undefined, readError: failure, writeError: failure };
  }
  try {
    await tryWriting(layout);
    locationId ??= await makeMarker(layout);
    return { locationId };
  } catch (error) {
    return { locationId, writeError: asError(error) };
  }
}

/** The store's identity; undefined if it has none yet. */
async function readMarker(layout: Layout): Promise<string | undefined> {
  return guarded(async () => {
    let id: string;
    try {
      id = (await readFile(layout.marker, 'utf8')).trim();
    } catch (error) {
      if (!isMissing(error)) throw error;
      await layout.assertRoot();
      return undefined;
    }
    if (!LOCATION_ID.test(id)) throw fail.storeUnreachable('the marker .entrepot-location in storage_path is damaged');
    return id;
  });
}

/** Gives a new store its identity, or reads the one that another node has given it just now. */
async function makeMarker(layout: Layout): Promise<string | undefined> {
  await withFile(layout, Buffer.from(`${randomUUID()}\n`), file => layout.placeMarker(file));
  return readMarker(layout);
}

/** Writes a file as an upload would be, and reads it back. */
async function tryWriting(layout: Layout): Promise<void> {
  const written = randomBytes(4096);
  await withFile(layout, written, async file => {
    if (!written.equals(await readFile(file))) {
      throw fail.storeUnreachable('the file system of storage_path answers other bytes than were written to it');
    }
  });
}

/**
 * Runs `work` on a file that has these bytes on disk. It lies among the uploads: if the process is killed meanwhile,
 * the sweep finds it there.
 */
async function withFile(layout: Layout, bytes: Buffer, work: (file: string) => Promise<void>): Promise<void> {
  const name = randomUUID();
  await guarded(async () => {
    const file = join(await layout.makeUpload(name), 'probe');
    try {
      const handle = await open(file, 'wx');
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await work(file);
    } finally {
      await layout.removeUpload(name);
    }
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
