/**
 * Where things lie in the bucket, below the prefix that `storage_path` gives.
 *
 *     sha256/ab/ab12…           blobs: <algorithm>/<first two hex digits>/<hex>, as Quay lays them out
 *     uploads/<id>/upload       says that an upload exists; if its parts go straight to a blob's key, says where
 *     uploads/<id>/<name>       bytes of an upload: small chunks, and what became of its multipart uploads
 *     uploads/<id>/probe        what the canary writes
 *     .entrepot-location        the store's identity
 */
import { randomBytes } from 'node:crypto';
import { algorithmOf, type Digest, type DigestAlgorithm, hexOf, parseDigest } from '../../../lib/oci/digest.js';

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NAME = /^[0-9a-f]{12}$/;

/** Whether `id` is one that we gave an upload. */
export function isUploadId(id: string): boolean {
  return ID.test(id);
}

/** Whether `name` is one that we gave an object of an upload. */
export function isName(name: string): boolean {
  return NAME.test(name);
}

/** Twelve hex digits that nobody else has. */
export function randomName(): string {
  return randomBytes(6).toString('hex');
}

export class Keys {
  /** What all our keys begin with. */
  readonly prefix: string;
  readonly uploads: string;
  readonly identity: string;

  constructor(root: string) {
    this.prefix = root === '' ? '' : `${root}/`;
    this.uploads = `${this.prefix}uploads/`;
    this.identity = `${this.prefix}.entrepot-location`;
  }

  blob(digest: Digest): string {
    const hex = hexOf(digest);
    return `${this.blobs(algorithmOf(digest))}${hex.slice(0, 2)}/${hex}`;
  }

  /** What the keys of all blobs of an algorithm begin with. */
  blobs(algorithm: DigestAlgorithm): string {
    return `${this.prefix}${algorithm}/`;
  }

  /** The digest whose blob lies at `key`; undefined if it is no blob's key. */
  digestAt(key: string): Digest | undefined {
    const [algorithm, shard, hex, ...more] = key.slice(this.prefix.length).split('/');
    const digest = key.startsWith(this.prefix) && more.length === 0 ? parseDigest(`${algorithm}:${hex}`) : undefined;
    return digest && hex?.slice(0, 2) === shard ? digest : undefined;
  }

  upload(id: string): string {
    return `${this.uploads}${id}/`;
  }

  marker(id: string): string {
    return `${this.upload(id)}upload`;
  }

  piece(id: string, name: string): string {
    return `${this.upload(id)}${name}`;
  }

  /** The upload to which `key` belongs; undefined if it belongs to none of ours. */
  uploadAt(key: string): string | undefined {
    if (!key.startsWith(this.uploads)) return undefined;
    const [id, ...more] = key.slice(this.uploads.length).split('/');
    return id !== undefined && isUploadId(id) && more.length === 1 ? id : undefined;
  }
}
