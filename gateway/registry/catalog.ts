/** `/v2/_catalog`: the repositories that the caller may pull from. */
import { parseRepository, type RepositoryName } from '../../lib/oci/name.js';
import type { Context } from '../http/context.js';
import { LARGEST_PAGE, linkNext, readPage } from './pages.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';

export function catalog({ authorizer, repositories }: Parts): Resource<'catalog'> {
  const list: Resource<'catalog'>[string] = async (ctx, _route, query) => {
    authorizer.demand(ctx, undefined, 'pull');
    const { last, limit } = readPage(query, 'repository name', parseRepository);
    const found = limit === 0 ? [] : await visible(ctx, last, limit + 1);
    const names = found.slice(0, limit);
    const end = names.at(-1);
    if (found.length > limit && end !== undefined) linkNext(ctx, '/v2/_catalog', { n: limit, last: end });
    ctx.set('Content-Type', 'application/json');
    ctx.body = JSON.stringify({ repositories: names });
  };

  /** The next `count` names that the caller may see. What is hidden does not even show as a page that is too short. */
  async function visible(ctx: Context, after: RepositoryName | undefined, count: number): Promise<RepositoryName[]> {
    const seen: RepositoryName[] = [];
    let last = after;
    while (seen.length < count) {
      const size = Math.max(count - seen.length, Math.min(LARGEST_PAGE, count));
      const names = await repositories.list({ last, limit: size });
      seen.push(...names.filter(name => authorizer.allows(ctx, name, 'pull')));
      last = names.at(-1);
      if (names.length < size) break;
      ctx.state.signal.throwIfAborted();
    }
    return seen.slice(0, count);
  }

  return { GET: list, HEAD: list };
}
