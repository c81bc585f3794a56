/** The Koa application: what every request passes through, in order. */
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
      if (ctx.req.httpVersion === '1.1' && ctx.req.headers.host === undefined) throw oci.hostMissing();
      await handle(ctx);
    },
  ];
  for (const each of middleware) app.use(each as Koa.Middleware<RequestState>);
  // Only what happens to a connection after its answer ends up here: everything else was caught.
  app.on('error', (error: unknown) => log.debug({ err: error }, 'a connection failed'));
  return app;
}
