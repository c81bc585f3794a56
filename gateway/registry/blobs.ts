/** `/v2/<name>/blobs/<digest>` */
import { BlobUnavailable, readBlob } from '../../lib/locations/read.js';
import { parseRange } from '../../lib/oci/range.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import { sendStream } from '../http/send.js';
import { answerEmpty } from './answers.js';
import { answerIfKnown, etagOf } from './known.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';
import type { Route } from './routes.js';

type BlobRoute = Extract<Route, { kind: 'blob' }>;

export function blob(parts: Parts): Resource<'blob'> {
  const { authorizer, blobs, crossings, locations } = parts;

  async function find({ repository, digest }: BlobRoute) {
    const found = await blobs.find(repository, digest);
    if (found.blob) return found.blob;
    throw found.repositoryKnown ? oci.blobUnknown(digest) : oci.nameUnknown(repository);
  }

  /**
   * Opens no stream: size and existence are in the one query. What is lost is not here: clients ask before they push, and
   * would otherwise not send what would mend it.
   */
  async function head(ctx: Context, route: BlobRoute): Promise<void> {
    authorizer.demand(ctx, route.repository, 'pull');
    const { size, isLost } = await find(route);
    if (isLost) throw oci.blobUnknown(route.digest);
    if (answerIfKnown(ctx, route.digest)) return;
    setHeaders(ctx, route);
    ctx.set('Content-Length', String(size));
    ctx.status = 200;
  }

  async function get(ctx: Context, route: BlobRoute): Promise<void> {
    authorizer.demand(ctx, route.repository, 'pull');
    const { size, locations: holders } = await find(route);
    if (answerIfKnown(ctx, route.digest)) return;
    const part = parseRange(rangeHeader(ctx, route), size);
    if (part === 'unsatisfiable') throw oci.rangeUnsatisfiable(size);
    const range = part === 'whole' ? { offset: 0, length: size } : part;
    const bytes = range.length === 0 ? nothing() : await open(ctx, route, size, holders, range);
    setHeaders(ctx, route);
    if (part !== 'whole') ctx.set('Content-Range', `bytes ${part.offset}-${part.offset + part.length - 1}/${size}`);
    await sendStream(ctx, part === 'whole' ? 200 : 206, range.length, bytes);
  }

  async function open(
    ctx: Context,
    route: BlobRoute,
    size: number,
    holders: readonly string[],
    range: { offset: number; length: number },
  ): Promise<AsyncIterable<Buffer>> {
    const { digest, repository } = route;
    const holdersNow = async () => (await blobs.find(repository, digest)).blob?.locations ?? [];
    const read = (names: readonly string[]) =>
      readBlob({ locations, crossings, digest, size, holders: names, holdersNow, range, context: ctx.state });
    try {
      return (await read(holders)).bytes;
    } catch (error) {
      // Placements are read before the bytes: between the two, a blob may have come to another location.
      if (!(error instanceof BlobUnavailable)) throw error;
      const again = await blobs.find(repository, digest);
      const others = again.blob?.locations.filter(name => !holders.includes(name)) ?? [];
      if (others.length === 0) throw error;
      return (await read(others)).bytes;
    }
  }

  /** Removes the blob from this repository only; the bytes are collected when no repository has it. */
  async function remove(ctx: Context, { repository, digest }: BlobRoute): Promise<void> {
    authorizer.demand(ctx, repository, 'delete');
    if (!(await blobs.unlink(repository, digest))) throw oci.blobUnknown(digest);
    answerEmpty(ctx, 202);
  }

  return { GET: get, HEAD: head, DELETE: remove };
}

function setHeaders(ctx: Context, { digest }: BlobRoute): void {
  ctx.set({
    'Content-Type': 'application/octet-stream',
    'Docker-Content-Digest': digest,
    ETag: etagOf(digest),
    'Accept-Ranges': 'bytes',
  });
}

/** The range that is asked for; none if it is meant for other bytes than these (`If-Range`, RFC 9110). */
function rangeHeader(ctx: Context, { digest }: BlobRoute): string | undefined {
  const onlyIf = ctx.req.headers['if-range'];
  return onlyIf === undefined || onlyIf === etagOf(digest) ? ctx.req.headers.range : undefined;
}

async function* nothing(): AsyncGenerator<Buffer> {}
