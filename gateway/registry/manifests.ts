/** `/v2/<name>/manifests/<reference>` */
import { LRUCache } from 'lru-cache';
import type { Reference } from '../../lib/metadata/manifests.js';
import { algorithmOf, type Digest, digestOf } from '../../lib/oci/digest.js';
import { type ManifestFacts, ManifestInvalid, readManifest } from '../../lib/oci/manifest.js';
import { IMAGE_MANIFEST, isMediaType } from '../../lib/oci/media-types.js';
import { parseTag, type Tag } from '../../lib/oci/name.js';
import { annotate } from '../../lib/telemetry/span.js';
import { readWholeBody } from '../http/body.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import { warn } from '../http/warnings.js';
import { answerEmpty } from './answers.js';
import { answerIfKnown, etagOf } from './known.js';
import type { Parts } from './parts.js';
import { waitForQuorum } from './quorum.js';
import type { Resource } from './registry.js';
import type { Route } from './routes.js';

type ManifestRoute = Extract<Route, { kind: 'manifest' }>;

/** How many tags this gateway remembers, to guess which manifest one stands for. */
const REMEMBERED_TAGS = 10_000;

/** How many tags one push may set. With the longest names, its request still fits into what a server reads of a head. */
export const MOST_TAGS = 100;

type ManifestParts = Pick<
  Parts,
  'authorizer' | 'config' | 'manifestCache' | 'manifests' | 'replicationSignal' | 'tags'
>;

export function manifest(parts: ManifestParts): Resource<'manifest'> {
  const { authorizer, config, manifestCache, manifests, replicationSignal } = parts;
  /** What a tag stood for last. Only a guess, so that the database need not send bytes that are here: it always decides. */
  const guesses = new LRUCache<string, Digest>({ max: REMEMBERED_TAGS });

  async function get(ctx: Context, { repository, reference }: ManifestRoute): Promise<void> {
    authorizer.demand(ctx, repository, 'pull');
    const key = `${repository}:${textOf(reference)}`;
    const guess = 'digest' in reference ? reference.digest : guesses.get(key);
    const cached = guess && ctx.method !== 'HEAD' ? await manifestCache.get(guess) : undefined;
    const known = cached || ctx.method === 'HEAD' ? guess : undefined;
    const found = await manifests.find(repository, reference, known);
    if (!found.manifest) throw missing(found.repositoryKnown, { repository, reference });
    const { digest, mediaType, size } = found.manifest;
    annotate({ 'entrepot.digest': digest });
    if ('tag' in reference) guesses.set(key, digest);
    if (found.manifest.bytes) manifestCache.put(digest, found.manifest.bytes);
    if (answerIfKnown(ctx, digest)) return;

    if (ctx.method !== 'HEAD') {
      // In an outage of the database the answer may be older than the guess: other bytes than the digest's are cached.
      ctx.body = found.manifest.bytes ?? (guess === digest ? cached : undefined) ?? (await bytesOf(digest));
    }
    ctx.status = 200;
    ctx.set({
      'Content-Type': mediaType,
      'Content-Length': String(size),
      'Docker-Content-Digest': digest,
      ETag: etagOf(digest),
    });
  }

  /** Only in an outage of the database: it told of the manifest before, and its bytes have been here since then. */
  async function bytesOf(digest: Digest): Promise<Buffer> {
    const bytes = await manifestCache.get(digest);
    if (!bytes) throw oci.unavailable('the registry cannot reach its database now');
    return bytes;
  }

  async function put(ctx: Context, { repository, reference }: ManifestRoute, query: URLSearchParams): Promise<void> {
    authorizer.demand(ctx, repository, 'push');
    const asked = tagsOfQuery(query);
    const limit = config.maximumManifestSize;
    const bytes = await readWholeBody(ctx, {
      limit,
      tooLarge: () => oci.tooLarge(`a manifest may have ${limit} bytes at most (ENTREPOT_MAXIMUM_MANIFEST_SIZE)`),
    });
    const digest = checkDigest(bytes, reference);
    annotate({ 'entrepot.digest': digest });
    const facts = readFacts(bytes, contentTypeOf(ctx, bytes));
    const tags = 'tag' in reference ? [...new Set([reference.tag, ...asked])] : asked;
    const pushed = { repository, digest, tags };
    const outcome = await manifests.put({ ...pushed, bytes, facts, traceId: ctx.state.traceId });
    if (outcome.kind === 'blobs-missing') throw oci.manifestBlobUnknown(outcome.digests);
    replicationSignal.notify();
    if (outcome.kind === 'short-of-quorum') {
      const { signal } = ctx.state;
      const seconds = config.writeQuorumSeconds;
      await waitForQuorum({ manifests, ...pushed, short: outcome.blobs, seconds, signal });
    }
    manifestCache.put(digest, bytes);
    for (const tag of tags) guesses.set(`${repository}:${tag}`, digest);
    warnOfPush(ctx, facts, outcome.absent ?? []);
    answerEmpty(ctx, 201, {
      Location: `/v2/${repository}/manifests/${digest}`,
      'Docker-Content-Digest': digest,
      ...(facts.subject ? { 'OCI-Subject': facts.subject } : {}),
      ...(asked.length > 0 ? { 'OCI-Tag': asked } : {}),
    });
  }

  /** Caches need no word of this: they hold bytes by digest, and each request asks the database what exists. */
  async function remove(ctx: Context, { repository, reference }: ManifestRoute): Promise<void> {
    authorizer.demand(ctx, repository, 'delete');
    const indexes = 'tag' in reference ? undefined : await manifests.remove(repository, reference.digest);
    const removed = 'tag' in reference ? await parts.tags.remove(repository, reference.tag) : indexes;
    if (!removed) throw oci.manifestUnknown(textOf(reference));
    if (indexes && indexes.length > 0) warn(ctx, `an index still lists the deleted manifest: ${indexes.join(', ')}`);
    answerEmpty(ctx, 202);
  }

  return { GET: get, HEAD: get, PUT: put, DELETE: remove };
}

function missing(repositoryKnown: boolean, { repository, reference }: Pick<ManifestRoute, 'repository' | 'reference'>) {
  return repositoryKnown ? oci.manifestUnknown(textOf(reference)) : oci.nameUnknown(repository);
}

function textOf(reference: Reference): string {
  return 'tag' in reference ? reference.tag : reference.digest;
}

/** The tags that a push names in its query; each once. Throws MANIFEST_INVALID for a malformed one. */
function tagsOfQuery(query: URLSearchParams): Tag[] {
  const texts = [...new Set(query.getAll('tag'))];
  if (texts.length > MOST_TAGS) throw oci.tooManyTags(MOST_TAGS);
  return texts.map(text => {
    const tag = parseTag(text);
    if (!tag) throw oci.tagMalformed(text);
    return tag;
  });
}

/** Tells of what a push may lack though it is as it should be. */
function warnOfPush(ctx: Context, facts: ManifestFacts, absent: readonly Digest[]): void {
  if (absent.length > 0) warn(ctx, `the repository does not have what the manifest lists: ${absent.join(', ')}`);
  if (facts.nonDistributable > 0) {
    warn(ctx, `${facts.nonDistributable} layers are of a non-distributable type: a pull may not find them here`);
  }
  if (!ctx.req.headers['content-type']) warn(ctx, `the push had no Content-Type: stored as ${facts.mediaType}`);
}

/** The manifest's digest; one that was pushed by digest must have it. */
function checkDigest(bytes: Buffer, reference: Reference): Digest {
  if ('tag' in reference) return digestOf(bytes);
  const found = digestOf(bytes, algorithmOf(reference.digest));
  if (found !== reference.digest) {
    throw oci.digestMismatch(`the manifest's digest is ${found}, not ${reference.digest}`);
  }
  return found;
}

/** The media type that the manifest was pushed as, without parameters. A client that says none is asked its manifest. */
function contentTypeOf(ctx: Context, bytes: Buffer): string {
  const header = ctx.req.headers['content-type']?.split(';', 1)[0]?.trim();
  if (!header) return embeddedMediaType(bytes) ?? IMAGE_MANIFEST;
  if (!isMediaType(header)) throw oci.manifestInvalid('the Content-Type is not a media type');
  return header;
}

function embeddedMediaType(bytes: Buffer): string | undefined {
  try {
    const { mediaType }: { mediaType?: unknown } = JSON.parse(bytes.toString('utf8')) ?? {};
    return typeof mediaType === 'string' && isMediaType(mediaType) ? mediaType : undefined;
  } catch {
    // readManifest says what is wrong with it.
    return undefined;
  }
}

function readFacts(bytes: Buffer, contentType: string): ManifestFacts {
  try {
    return readManifest(bytes, contentType);
  } catch (error) {
    if (error instanceof ManifestInvalid) throw oci.manifestInvalid(error.message);
    throw error;
  }
}
