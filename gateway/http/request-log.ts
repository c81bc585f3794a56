/** Gives each request its trace id, its span, its log, and its end: one line, and its metrics, when the answer is over, however it ended. */
import type { Logger } from 'pino';
import type { AnsweredRequest } from '../../lib/telemetry/gateway-metrics.js';
import { traceIdFrom } from '../../lib/telemetry/trace-id.js';
import { nobody } from '../auth/caller.js';
import type { Context, Next, RequestState } from './context.js';
import { beginRequest, endRequest } from './request-span.js';

/** What is logged as the status of a request whose client did not wait for the answer. */
const CLIENT_GONE = 499;

/**
 * The outermost middleware; `onAnswered` hears of each request that is over. The trace id comes from the client's
 * `traceparent` (W3C Trace Context), or is new; it is told in `X-Request-Id`, which people know to look for.
 */
export function requestLog(log: Logger, onAnswered: (request: AnsweredRequest) => void) {
  return async (ctx: Context, next: Next): Promise<void> => {
    const { req, res } = ctx;
    const { socket } = req;
    const started = process.hrtime.bigint();
    const before = { read: socket.bytesRead, written: socket.bytesWritten };
    const span = beginRequest(req);
    const traceId = span?.traceId ?? traceIdFrom(headerOf(req.headers.traceparent));
    const gone = new AbortController();
    const state: RequestState = {
      traceId,
      signal: gone.signal,
      caller: nobody,
      log: log.child({ traceId }),
    };
    ctx.state = state;
    ctx.set('X-Request-Id', traceId);
    res.once('close', () => {
      const cut = !res.writableEnded || (!res.writableFinished && socket.writableLength > 0);
      if (cut) gone.abort();
      const route = state.route ?? 'unknown';
      const status = res.headersSent ? res.statusCode : CLIENT_GONE;
      const seconds = Number(process.hrtime.bigint() - started) / 1e9;
      const bytes = { in: socket.bytesRead - before.read, out: socket.bytesWritten - before.written };
      onAnswered({ method: req.method ?? '', route, status, seconds, bytesIn: bytes.in, bytesOut: bytes.out });
      const tell = () => logEnd(ctx, { route, status, seconds, cut, bytes });
      if (!span) return tell();
      span.run(tell);
      endRequest(span, req, state, { status, seconds, bytesIn: bytes.in, bytesOut: bytes.out, cut });
    });
    await (span ? span.run(next) : next());
  };
}

interface End {
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  readonly cut: boolean;
  readonly bytes: { readonly in: number; readonly out: number };
}

function logEnd({ req, res, state }: Context, { route, status, seconds, cut, bytes }: End): void {
  state.log[state.route === 'health' ? 'debug' : 'info'](
    {
      method: req.method,
      route,
      ...(state.repository === undefined ? {} : { repository: state.repository }),
      ...(state.user === undefined ? {} : { user: state.user }),
      // A path that led nowhere is worth seeing, but its query might hold anything.
      ...(state.route === undefined ? { path: (req.url ?? '').split('?', 1)[0]?.slice(0, 200) } : {}),
      status,
      ...(state.errorCode === undefined ? {} : { code: state.errorCode }),
      ...(res.headersSent && cut ? { cut } : {}),
      bytesIn: bytes.in,
      bytesOut: bytes.out,
      ms: Math.round(seconds * 1e5) / 100,
    },
    'request',
  );
}

function headerOf(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
