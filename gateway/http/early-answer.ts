/**
 * Answers that come before the request's body was read: refusals, mostly.
 *
 * A server that answers and closes while the client still sends makes the client's kernel throw our answer away (the
 * connection is reset), and its user reads "broken pipe" instead of the reason. So the answer is sent at once, with
 * `Connection: close`, and what the client still sends is thrown away for a while; most clients stop as soon as they
 * have read an answer.
 */
import type { IncomingMessage } from 'node:http';
import { declaredLength, isWaitingForContinue } from './body.js';
import type { Context, Next } from './context.js';

/** Enough for clients that read the answer only after they have sent a manifest or a small blob as a whole. */
const DISCARD_BYTES = 8 * 1024 * 1024;

/** After so many bytes nothing is read, but the connection stays open for the rest of this time, for the slow to see our answer. */
const DISCARD_MS = 5_000;

/** So little is read to its end, and the connection is used again. */
const READ_ON_BYTES = 64 * 1024;

/** Takes over the sending of an answer when the body is still to come. */
export async function answerEarly(ctx: Context, next: Next): Promise<void> {
  await next();
  const { req, res } = ctx;
  if (ctx.respond === false || req.complete || willEndSoon(req)) return;
  ctx.respond = false;
  const body = ctx.method === 'HEAD' ? '' : (ctx.body ?? '');
  res.setHeader('Connection', 'close');
  const isSized = ctx.status === 204 || ctx.status === 304 || res.hasHeader('Content-Length');
  if (!isSized) res.setHeader('Content-Length', Buffer.byteLength(ctx.body ?? ''));
  res.flushHeaders();
  if (body.length > 0) res.write(body);
  await discard(req);
  res.end();
}

/** Node itself discards the rest of such a request before it reads the next. */
function willEndSoon(req: IncomingMessage): boolean {
  const length = declaredLength(req);
  return length !== undefined && length <= READ_ON_BYTES && !isWaitingForContinue(req);
}

function discard(req: IncomingMessage): Promise<void> {
  return new Promise(resolve => {
    let discarded = 0;
    const onData = (piece: Buffer) => {
      discarded += piece.length;
      if (discarded > DISCARD_BYTES) req.pause();
    };
    const done = () => {
      clearTimeout(timer);
      req.off('data', onData);
      req.off('end', done);
      req.off('close', done);
      resolve();
    };
    const timer = setTimeout(done, DISCARD_MS);
    req.on('data', onData);
    req.on('end', done);
    req.on('close', done);
    if (req.destroyed || req.readableEnded) done();
    else req.resume();
  });
}
