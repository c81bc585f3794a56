/** `GET /v2/`: whether this is a registry, and whether the caller may use it. */
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';

export function base({ authorizer }: Parts): Resource<'base'> {
  const get: Resource<'base'>[string] = async ctx => {
    authorizer.demandEntry(ctx);
    ctx.set('Content-Type', 'application/json');
    ctx.body = '{}';
  };
  return { GET: get, HEAD: get };
}
