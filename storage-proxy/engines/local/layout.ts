/**
 * Where things lie below `storage_path`, and how they get there so that they survive power loss.
 *
 *     sha256/ab/ab12…        blobs: <algorithm>/<first two hex digits>/<hex>, as Quay lays them out
 *     uploads/<uuid>/…       everything unfinished: uploads, probes
 *     uploads/<uuid>.<x>/    the same, on its way out
 *     .entrepot-location     the store's identity
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { algorithmOf, type Digest, hexOf } from '../../../lib/oci/digest.js';
import { errorCode, isMissing } from './errors.js';

const UPLOAD_NAME = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.[0-9a-f]{12})?$/;

/** Whether `name` is a folder of uploads/ that we made. Safe as a part of a path if it is. */
export function isUploadName(name: string): boolean {
  return UPLOAD_NAME.test(name);
}

/** Twelve hex digits that nobody else has. */
export function randomName(): string {
  return randomBytes(6).toString('hex');
}

export class Layout {
  readonly root: string;
  readonly uploads: string;
  readonly marker: string;
  /** Folders of which this process knows that their entry survives power loss. */
  readonly #durable = new Set<string>();

  constructor(root: string) {
    this.root = root;
    this.uploads = join(root, 'uploads');
    this.marker = join(root, '.entrepot-location');
  }

  blob(digest: Digest): string {
    const hex = hexOf(digest);
    return join(this.root, algorithmOf(digest), hex.slice(0, 2), hex);
  }

  upload(name: string): string {
    return join(this.uploads, name);
  }

  /** Throws unless the store itself is there: what is missing below a missing root is not missing but out of reach. */
  async assertRoot(): Promise<void> {
    await stat(this.root);
  }

  /** Makes the folder of a new upload. */
  async makeUpload(name: string): Promise<string> {
    const folder = this.upload(name);
    try {
      await mkdir(folder);
    } catch (error) {
      if (!isMissing(error)) throw error;
      await makeFolder(this.uploads);
      await mkdir(folder);
    }
    return folder;
  }

  /** The names of all uploads' folders. */
  async listUploads(): Promise<string[]> {
    try {
      const entries = await readdir(this.uploads, { withFileTypes: true });
      return entries.filter(entry => entry.isDirectory() && isUploadName(entry.name)).map(entry => entry.name);
    } catch (error) {
      if (!isMissing(error)) throw error;
      await this.assertRoot();
      return [];
    }
  }

  /**
   * Removes an upload's folder. It is moved away first, so that a writer that comes in between finds nothing, rather
   * than adds a file to a folder that is just being emptied.
   */
  async removeUpload(name: string): Promise<void> {
    const away = this.upload(`${name.slice(0, 36)}.${randomName()}`);
    try {
      await rename(this.upload(name), away);
    } catch (error) {
      if (!isMissing(error)) throw error;
      return await this.assertRoot();
    }
    await rm(away, { recursive: true, force: true });
  }

  /** Moves a file, whose bytes are on disk already, to its final key, replacing what is there; survives power loss. */
  async place(file: string, digest: Digest): Promise<void> {
    const target = this.blob(digest);
    await this.#makeDurable(dirname(target));
    try {
      await rename(file, target);
    } catch (error) {
      if (!isMissing(error)) throw error;
      // Either the file is gone, or somebody tidied up the empty folder that we remember.
      this.#durable.clear();
      await this.#makeDurable(dirname(target));
      await rename(file, target);
    }
    await syncFile(dirname(target));
  }

  /** Makes the marker from a whole file, unless it is there: of two nodes that try, one wins. */
  async placeMarker(file: string): Promise<void> {
    try {
      await link(file, this.marker);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
    await syncFile(this.root);
  }

  /**
   * Makes a folder, and its parents up to the root, and has their entries on disk. Also those that others made: they
   * may not have come to it yet.
   */
  async #makeDurable(folder: string): Promise<void> {
    if (folder === this.root || this.#durable.has(folder)) return;
    const parent = dirname(folder);
    await this.#makeDurable(parent);
    await makeFolder(folder);
    await syncFile(parent);
    this.#durable.add(folder);
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
}

/** Has a file's bytes, or a folder's entries, on disk. If this fails they are lost, and asking again would only hide it. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
