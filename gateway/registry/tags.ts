/** `/v2/<name>/tags/list` */
import { parseTag } from '../../lib/oci/name.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';
import type { Route } from './routes.js';

/** A page holds no more tags than this; the rest follows by `Link`. */
const LARGEST_PAGE = 1_000;

export function tags({ authorizer, tags }: Parts): Resource<'tags'> {
  async function list(
    ctx: Context,
    { repository }: Extract<Route, { kind: 'tags' }>,
    query: URLSearchParams,
  ): Promise<void> {
    authorizer.demand(ctx, repository, 'pull');
    const limit = readCount(query.get('n'));
    const last = readLast(query.get('last'));
    const page = await tags.list(repository, { ...(last === undefined ? {} : { last }), limit });
    if (!page) throw oci.nameUnknown(repository);
    const end = page.tags.at(-1);
    if (page.more && end !== undefined) {
      ctx.set('Link', `</v2/${repository}/tags/list?n=${limit}&last=${encodeURIComponent(end)}>; rel="next"`);
    }
    ctx.set('Content-Type', 'application/json');
    ctx.body = JSON.stringify({ name: repository, tags: page.tags });
  }
  return { GET: list };
}

function readCount(text: string | null): number {
  if (text === null || text === '') return LARGEST_PAGE;
  if (!/^[0-9]{1,15}$/.test(text)) throw oci.parameterInvalid('n must be a number of tags, 0 or more');
  return Math.min(Number(text), LARGEST_PAGE);
}

function readLast(text: string | null): string | undefined {
  if (text === null || text === '') return undefined;
  const tag = parseTag(text);
  if (!tag) throw oci.parameterInvalid('last must be a tag');
  return tag;
}
