/** Gives each request its trace id, its log, and its end: one line when the answer is over, however it ended. */
import type { Logger } from 'pino';
import { traceIdFrom } from '../../lib/telemetry/trace-id.js';
import { nobody } from '../auth/caller.js';
import type { Context, Next, RequestState } from './context.js';

/** What is logged as the status of a request whose client did not wait for the answer. */
const CLIENT_GONE = 499;

/**
 * The outermost middleware. The trace id comes from the client's `traceparent` (W3C Trace Context), or is new; it is
 * told in `X-Request-Id`, which people know to look for.
 */
export function requestLog(log: Logger) {
  return async (ctx: Context, next: Next): Promise<void> => {
    const { req, res } = ctx;
    const { socket } = req;
    const started = process.hrtime.bigint();
    const before = { read: socket.bytesRead, written: socket.bytesWritten };
    const traceId = traceIdFrom(headerOf(req.headers.traceparent));
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
      state.log[state.route === 'health' ? 'debug' : 'info'](
        {
          method: req.method,
          route: state.route ?? 'unknown',
          ...(state.repository === undefined ? {} : { repository: state.repository }),
          ...(state.user === undefined ? {} : { user: state.user }),
          // A path that led nowhere is worth seeing, but its query might hold anything.
          ...(state.route === undefined ? { path: (req.url ?? '').split('?', 1)[0]?.slice(0, 200) } : {}),
          status: res.headersSent ? res.statusCode : CLIENT_GONE,
          ...(state.errorCode === undefined ? {} : { code: state.errorCode }),
          ...(res.headersSent && cut ? { cut } : {}),
          bytesIn: socket.bytesRead - before.read,
          bytesOut: socket.bytesWritten - before.written,
          ms: Math.round(Number(process.hrtime.bigint() - started) / 1e4) / 100,
        },
        'request',
      );
    });
    await next();
  };
}

function headerOf(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
