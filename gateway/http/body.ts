/**
 * The request's body. It is whole only if its last byte was seen (`req.complete`): a client that goes away in the
 * middle is an error, so that a part is never taken for the whole.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from './context.js';
import { oci } from './errors.js';

/** The client went away before its request was complete. There is nobody to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';

  constructor() {
    super('the client went away');
  }
}

/** Requests that wait for `100 Continue` before they send their body. */
const waitingForContinue = new WeakSet<IncomingMessage>();

export function markWaitingForContinue(req: IncomingMessage): void {
  waitingForContinue.add(req);
}

export function isWaitingForContinue(req: IncomingMessage): boolean {
  return waitingForContinue.has(req);
}

/** The length that the request declares, in bytes; undefined if it is sent in chunks of unknown number. */
export function declaredLength(req: IncomingMessage): number | undefined {
  if (req.headers['transfer-encoding'] !== undefined) return undefined;
  return Number(req.headers['content-length'] ?? 0);
}

export interface BodyOptions {
  /** How many bytes are accepted. */
  readonly limit: number;
  /** Makes the error for a body that has more. */
  readonly tooLarge: () => Error;
  /** Ends the iteration with its reason, also while the client is silent. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The body's bytes, with back-pressure. Nothing is read, and no `100 Continue` is sent, before the first bytes are asked
 * for: all checks come before that. Throws ClientGone if the body is cut short. Iterate it once.
 */
export async function* readBody(ctx: Context, options: BodyOptions): AsyncGenerator<Buffer, void, undefined> {
  const { req, res } = ctx;
  const { limit, signal, tooLarge } = options;
  if ((declaredLength(req) ?? 0) > limit) throw tooLarge();
  sendContinue(req, res);
  let total = 0;
  let wake: () => void = () => {};
  const onChange = () => wake();
  const events = ['readable', 'end', 'close', 'error'] as const;
  for (const event of events) req.on(event, onChange);
  signal?.addEventListener('abort', onChange);
  try {
    while (true) {
      signal?.throwIfAborted();
      const piece: Buffer | null = req.read();
      if (piece !== null) {
        total += piece.length;
        if (total > limit) throw tooLarge();
        yield piece;
      } else if (req.readableEnded && req.complete) {
        return;
      } else if (req.destroyed) {
        throw new ClientGone();
      } else {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
    }
  } finally {
    for (const event of events) req.off(event, onChange);
    signal?.removeEventListener('abort', onChange);
  }
}

/** What all bodies that are being read as a whole may hold together, in bytes: each grows as slowly as its client likes. */
const WHOLE_BODIES_BYTES = 96 * 1024 * 1024;
let heldBytes = 0;

/** A small body as a whole. Throws TOOMANYREQUESTS when the process holds too much of others already. */
export async function readWholeBody(ctx: Context, options: BodyOptions): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let own = 0;
  try {
    for await (const piece of readBody(ctx, options)) {
      own += piece.length;
      heldBytes += piece.length;
      if (heldBytes > WHOLE_BODIES_BYTES) throw oci.tooManyRequests('too many manifests are being pushed at once');
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  } finally {
    heldBytes -= own;
  }
}

function sendContinue(req: IncomingMessage, res: ServerResponse): void {
  if (waitingForContinue.delete(req)) res.writeContinue();
}
