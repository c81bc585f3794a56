/** `/v2/<name>/tags/list` */
import { parseTag } from '../../lib/oci/name.js';
import { oci } from '../http/errors.js';
import { linkNext, readPage } from './pages.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';

export function tags({ authorizer, tags }: Parts): Resource<'tags'> {
  const list: Resource<'tags'>[string] = async (ctx, { repository }, query) => {
    authorizer.demand(ctx, repository, 'pull');
    const { last, limit } = readPage(query, 'tag', parseTag);
    const page = await tags.list(repository, { last, limit });
    if (!page) throw oci.nameUnknown(repository);
    const end = page.tags.at(-1);
    if (page.more && end !== undefined) linkNext(ctx, `/v2/${repository}/tags/list`, { n: limit, last: end });
    ctx.set('Content-Type', 'application/json');
    ctx.body = JSON.stringify({ name: repository, tags: page.tags });
  };
  return { GET: list, HEAD: list };
}
