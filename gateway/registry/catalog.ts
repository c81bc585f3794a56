/** `/v2/_catalog`: the repositories that the caller may pull from. */
import { parseRepository } from '../../lib/oci/name.js';
import { linkNext, readPage } from './pages.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';

export function catalog({ authorizer, repositories }: Parts): Resource<'catalog'> {
  const list: Resource<'catalog'>[string] = async (ctx, _route, query) => {
    const visible = authorizer.demandCatalog(ctx);
    const { last, limit } = readPage(query, 'repository name', parseRepository);
    const found = limit === 0 ? [] : await repositories.list({ last, limit: limit + 1, visible });
    const names = found.slice(0, limit);
    const end = names.at(-1);
    if (found.length > limit && end !== undefined) linkNext(ctx, '/v2/_catalog', { n: limit, last: end });
    ctx.set('Content-Type', 'application/json');
    ctx.body = JSON.stringify({ repositories: names });
  };
  return { GET: list, HEAD: list };
}
