/** The Koa application: what every request passes through, in order. */
import type { IncomingMessage } from 'node:http';
import Koa from 'koa';
import type { Logger } from 'pino';
import type { AnsweredRequest } from '../../lib/telemetry/gateway-metrics.js';
import { answerErrors } from './answer-errors.js';
import type { Context, Next, RequestState } from './context.js';
import { answerEarly } from './early-answer.js';
import { oci } from './errors.js';
import { requestLog } from './request-log.js';

export interface AppOptions {
  readonly log: Logger;
  /** Answers the request, or throws. */
  readonly handle: (ctx: Context) => Promise<void>;
  /** Hears of each request that is over. */
  readonly onAnswered: (request: AnsweredRequest) => void;
}

/** Builds the application. */
export function createApp({ log, handle, onAnswered }: AppOptions): Koa<RequestState> {
  const app = new Koa<RequestState>();
  const middleware: ((ctx: Context, next: Next) => Promise<void>)[] = [
    requestLog(log, onAnswered),
    answerEarly,
    answerErrors,
    async ctx => {
      if (ctx.req.httpVersion === '1.1' && hostsOf(ctx.req) !== 1) throw oci.hostNotOne();
      await handle(ctx);
    },
  ];
  for (const each of middleware) app.use(each as Koa.Middleware<RequestState>);
  // Only what happens to a connection after its answer ends up here: everything else was caught.
  app.on('error', (error: unknown) => log.debug({ err: error }, 'a connection failed'));
  return app;
}

/** How many Host headers there are. With two, a proxy on the way and we might believe different ones (RFC 9112, 3.2). */
function hostsOf({ rawHeaders }: IncomingMessage): number {
  return rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === 'host').length;
}
