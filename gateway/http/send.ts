/** Streaming an answer whose length is known. */
import { once } from 'node:events';
import type { Context } from './context.js';

/**
 * So much of an answer may wait for its client before we wait, too. Waiting for every piece to be gone, as Node's own
 * limit of 16 KiB has it, cost a tenth of the gateway's CPU time.
 */
const AHEAD_BYTES = 256 * 1024;

/**
 * Sends `length` bytes as the answer's body, at the client's speed. The headers must be set by now. Throws if the bytes
 * fail or end early; the head is sent by then, so the connection must be cut.
 */
export async function sendStream(
  ctx: Context,
  status: number,
  length: number,
  bytes: AsyncIterable<Buffer>,
): Promise<void> {
  const { res } = ctx;
  const { signal } = ctx.state;
  ctx.respond = false;
  res.writeHead(status, { 'Content-Length': length });
  let sent = 0;
  try {
    for await (const piece of bytes) {
      sent += piece.length;
      if (sent > length) throw new Error(`the storage sent more than the ${length} bytes that were asked for`);
      // The answer ends with its last byte: a client that has it may be gone before the storage's stream has ended.
      if (sent === length) res.end(piece);
      else if (!res.write(piece) && res.writableLength >= AHEAD_BYTES) await once(res, 'drain', { signal });
    }
  } catch (error) {
    if (!res.writableEnded) throw error;
  }
  if (sent < length) throw new Error(`the storage sent ${sent} of ${length} bytes`);
  if (!res.writableEnded) res.end();
}
