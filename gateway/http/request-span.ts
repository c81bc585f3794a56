/** The span of a request to the registry: the first of its trace here, below the client's if it sent a `traceparent`. */
import type { IncomingMessage } from 'node:http';
import { type Attributes, beginRoot, isTracing, type Span } from '../../lib/telemetry/span.js';
import { parseTraceParent } from '../../lib/telemetry/trace-id.js';
import type { RequestState } from './context.js';

/** The paths of the routes, as templates. */
const ROUTES: Readonly<Record<string, string>> = {
  base: '/v2/',
  auth: '/v2/auth',
  catalog: '/v2/_catalog',
  blob: '/v2/{name}/blobs/{digest}',
  uploads: '/v2/{name}/blobs/uploads/',
  upload: '/v2/{name}/blobs/uploads/{uuid}',
  manifest: '/v2/{name}/manifests/{reference}',
  tags: '/v2/{name}/tags/list',
  referrers: '/v2/{name}/referrers/{digest}',
};

/** Of what a client says of itself. */
const MOST_CHARACTERS = 200;

/** Begins it; undefined while there is no tracing. What only asks for health has none: monitors ask for ever. */
export function beginRequest(req: IncomingMessage): Span | undefined {
  const { method = '', url = '', headers } = req;
  if (!isTracing() || !url.startsWith('/v2')) return undefined;
  const { traceparent } = headers;
  const parent = typeof traceparent === 'string' ? parseTraceParent(traceparent) : undefined;
  return beginRoot({ name: method, kind: 'server', parent, untrusted: true });
}

export interface RequestEnd {
  readonly status: number;
  readonly seconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** The client was gone before it had the whole answer. */
  readonly cut: boolean;
}

/** Ends it, with what is known by now. */
export function endRequest(span: Span, req: IncomingMessage, state: RequestState, end: RequestEnd): void {
  if (span.isRecorded) {
    const route = ROUTES[state.route ?? ''];
    if (route !== undefined) span.rename(`${req.method} ${route}`);
    span.set({
      ...requestAttributes(req),
      ...(route === undefined ? {} : { 'http.route': route }),
      ...(state.repository === undefined ? {} : { 'entrepot.repository': state.repository }),
      ...(state.errorCode === undefined ? {} : { 'entrepot.error_code': state.errorCode }),
      ...(end.cut ? { 'entrepot.cancelled': true } : {}),
      'http.response.status_code': end.status,
      'entrepot.bytes_in': end.bytesIn,
      'entrepot.bytes_out': end.bytesOut,
    });
    if (end.status >= 500) span.failed(state.errorCode ?? String(end.status), `answered ${end.status}`);
  }
  span.end();
}

function requestAttributes({ method, url, headers, socket }: IncomingMessage): Attributes {
  const agent = headers['user-agent'];
  return {
    'http.request.method': method ?? '',
    // The query may hold anything.
    'url.path': (url ?? '').split('?', 1)[0]?.slice(0, 1_000) ?? '',
    'url.scheme': 'encrypted' in socket ? 'https' : 'http',
    ...(agent === undefined ? {} : { 'user_agent.original': agent.slice(0, MOST_CHARACTERS) }),
  };
}
