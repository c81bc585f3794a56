/** Finds uploads that nobody went on with, and what killed processes left behind. */
import type { StaleUpload } from '../engine.js';
import type { OpenUpload } from './multipart.js';
import { writeStray } from './session.js';
import type { Staging } from './staging.js';

/**
 * Two listings find everything: of the objects below uploads/, and of the multipart uploads below the whole prefix.
 * An upload is as new as the newest of its objects and parts.
 */
export async function* staleUploads(
  staging: Staging,
  before: number,
  signal?: AbortSignal,
): AsyncGenerator<StaleUpload> {
  const { bucket, keys } = staging;
  const open = new Map<string, OpenUpload[]>();
  const direct: OpenUpload[] = [];
  for await (const found of bucket.multipart.list(keys.prefix, signal)) {
    const id = keys.uploadAt(found.key);
    if (id) open.set(id, [...(open.get(id) ?? []), found]);
    else if (keys.digestAt(found.key) && found.modifiedMs < before) direct.push(found);
  }

  /** The newest part of a multipart upload, or its beginning. */
  const newest = async ({ key, uploadId, modifiedMs }: OpenUpload) =>
    modifiedMs >= before ? modifiedMs : Math.max(modifiedMs, await bucket.multipart.lastPart(key, uploadId, signal));

  const judge = async (id: string, objectsMs: number): Promise<StaleUpload | undefined> => {
    let modifiedMs = objectsMs;
    if (modifiedMs < before) {
      const marker = await staging.readMarker(id, signal);
      const elsewhere = marker ? [{ key: keys.blob(marker.digest), uploadId: marker.uploadId, modifiedMs: 0 }] : [];
      for (const each of [...(open.get(id) ?? []), ...elsewhere]) modifiedMs = Math.max(modifiedMs, await newest(each));
    }
    open.delete(id);
    return modifiedMs < before ? { session: writeStray({ kind: 'upload', id }), modifiedMs } : undefined;
  };

  // The objects of an upload follow on each other.
  let group: { id: string; modifiedMs: number } | undefined;
  for await (const { key, modifiedMs } of bucket.list(keys.uploads, undefined, signal)) {
    const id = keys.uploadAt(key);
    if (!id) continue;
    if (group?.id === id) {
      group.modifiedMs = Math.max(group.modifiedMs, modifiedMs);
      continue;
    }
    const stale = group && (await judge(group.id, group.modifiedMs));
    if (stale) yield stale;
    group = { id, modifiedMs };
  }
  const last = group && (await judge(group.id, group.modifiedMs));
  if (last) yield last;
  for (const id of [...open.keys()]) {
    const stale = await judge(id, 0);
    if (stale) yield stale;
  }
  for (const found of direct) {
    const digest = keys.digestAt(found.key);
    const modifiedMs = await newest(found);
    if (digest && modifiedMs < before)
      yield { session: writeStray({ kind: 'parts', digest, uploadId: found.uploadId }), modifiedMs };
  }
}
