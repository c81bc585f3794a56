/**
 * Which resource a path means.
 *
 * Paths are matched as they came, not decoded, and from the right: a repository may be called `a/manifests/b`. Nothing
 * in a well-formed path needs percent-encoding, except that `%3A` may stand for the colon of a digest; so whatever else
 * is encoded is malformed, and no decoding can turn it into a name that the grammar would have refused.
 */

import type { Reference } from '../../lib/metadata/manifests.js';
import { type Digest, parseDigest } from '../../lib/oci/digest.js';
import { parseRepository, parseTag, type RepositoryName } from '../../lib/oci/name.js';
import { oci } from '../http/errors.js';

/** A resource of the registry API. */
export type Route =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'blob'; readonly repository: RepositoryName; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly repository: RepositoryName }
  | { readonly kind: 'upload'; readonly repository: RepositoryName; readonly uuid: string }
  | { readonly kind: 'manifest'; readonly repository: RepositoryName; readonly reference: Reference }
  | { readonly kind: 'tags'; readonly repository: RepositoryName }
  | { readonly kind: 'referrers'; readonly repository: RepositoryName; readonly subject: Digest };

export type RouteKind = Route['kind'];

/** An unfinished upload's path. */
export type UploadRoute = Extract<Route, { kind: 'upload' }>;

/** A path that has the form of a resource's; its parts are not checked yet. */
export interface Match {
  readonly kind: RouteKind;
  /** What stands for the repository. */
  readonly name: string;
  /** What stands for the digest, tag or upload. */
  readonly last: string;
}

/** The path and the query of a request target (RFC 9112: `/path?query`, or the same after `http://host`). */
export function splitTarget(target: string): { path: string; query: URLSearchParams } {
  const origin = /^https?:\/\/[^/?#]*/i.exec(target)?.[0] ?? '';
  const rest = target.slice(origin.length);
  const mark = rest.indexOf('?');
  return {
    path: mark < 0 ? rest : rest.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : rest.slice(mark + 1)),
  };
}

/** The form of a path; undefined if it is no resource of the registry API. */
export function matchPath(path: string): Match | undefined {
  if (path === '/v2' || path === '/v2/') return { kind: 'base', name: '', last: '' };
  if (path === '/v2/_catalog') return { kind: 'catalog', name: '', last: '' };
  if (!path.startsWith('/v2/')) return undefined;
  const parts = path.slice('/v2/'.length).split('/');
  const last = parts.at(-1) ?? '';
  const match = (kind: RouteKind, fixed: number): Match => ({ kind, name: parts.slice(0, -fixed).join('/'), last });
  const [third, second] = [parts.at(-3), parts.at(-2)];

  if (second === 'uploads' && third === 'blobs') return last === '' ? match('uploads', 3) : match('upload', 3);
  if (second === 'blobs') return last === 'uploads' ? match('uploads', 2) : match('blob', 2);
  if (second === 'manifests') return match('manifest', 2);
  if (second === 'referrers') return match('referrers', 2);
  if (second === 'tags' && last === 'list') return match('tags', 2);
  return undefined;
}

/** The resource that a path means. Throws the OciError of the first part that is malformed. */
export function readRoute({ kind, name, last }: Match): Route {
  if (kind === 'base' || kind === 'catalog') return { kind };
  const repository = parseRepository(name);
  if (!repository) throw oci.nameInvalid(name);
  switch (kind) {
    case 'blob':
      return { kind, repository, digest: readDigest(last) };
    case 'upload':
      return { kind, repository, uuid: readUuid(last) };
    case 'manifest':
      return { kind, repository, reference: readReference(last) };
    case 'referrers':
      return { kind, repository, subject: readDigest(last) };
    default:
      return { kind, repository };
  }
}

function readReference(text: string): Reference {
  const decoded = decodeColon(text);
  if (decoded.includes(':')) return { digest: readDigest(text) };
  const tag = parseTag(decoded);
  if (!tag) throw oci.tagMalformed(text);
  return { tag };
}

function readDigest(text: string): Digest {
  const digest = parseDigest(decodeColon(text));
  if (!digest) throw oci.digestMalformed(text);
  return digest;
}

function readUuid(text: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) throw oci.uploadUnknown();
  return text;
}

function decodeColon(text: string): string {
  return text.replace(/%3a/i, ':');
}
