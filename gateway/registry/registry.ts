/** The registry API: finds the resource of a request, and hands it to the resource's handler for the method. */
import { type Attributes, annotate } from '../../lib/telemetry/span.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import { base } from './base.js';
import { blob } from './blobs.js';
import { catalog } from './catalog.js';
import { manifest } from './manifests.js';
import { demandTaken } from './mode.js';
import type { Parts } from './parts.js';
import { referrers } from './referrers.js';
import { matchPath, type Route, type RouteKind, readRoute } from './routes.js';
import { tags } from './tags.js';
import { startUpload } from './upload-start.js';
import { upload } from './uploads.js';

/** Answers one request for a resource. */
export type Handler<K extends RouteKind> = (
  ctx: Context,
  route: Extract<Route, { kind: K }>,
  query: URLSearchParams,
) => Promise<void>;

/** A resource's handlers, by method. */
export type Resource<K extends RouteKind> = Readonly<Record<string, Handler<K>>>;

/** Builds the registry API; the result answers a request for `path`, or throws. */
export function createRegistry(parts: Parts) {
  const resources: { readonly [K in RouteKind]: Resource<K> } = {
    base: base(parts),
    catalog: catalog(parts),
    blob: blob(parts),
    uploads: startUpload(parts),
    upload: upload(parts),
    manifest: manifest(parts),
    tags: tags(parts),
    referrers: referrers(parts),
  };

  return async (ctx: Context, path: string, query: URLSearchParams): Promise<void> => {
    const match = matchPath(path);
    if (!match) throw oci.routeUnknown();
    ctx.state.route = match.kind;
    ctx.set('Docker-Distribution-Api-Version', 'registry/2.0');
    const resource: Resource<RouteKind> = resources[match.kind] as Resource<RouteKind>;
    if (!Object.hasOwn(resource, ctx.method)) throw oci.methodUnsupported(ctx.method, Object.keys(resource));
    demandTaken(ctx.method, parts.mode());
    const route = readRoute(match);
    if ('repository' in route) ctx.state.repository = route.repository;
    annotate(subjectOf(route));
    await resource[ctx.method]?.(ctx, route, query);
  };
}

/** For the request's span: what exactly is asked for. */
function subjectOf(route: Route): Attributes {
  switch (route.kind) {
    case 'blob':
      return { 'entrepot.digest': route.digest };
    case 'referrers':
      return { 'entrepot.digest': route.subject };
    case 'upload':
      return { 'entrepot.upload': route.uuid };
    case 'manifest':
      return 'tag' in route.reference
        ? { 'entrepot.tag': route.reference.tag }
        : { 'entrepot.digest': route.reference.digest };
    default:
      return {};
  }
}
