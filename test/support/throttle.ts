/** A slow way to a server: a TCP proxy in front of it. */
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.js';
import { atEnd } from './suite.js';

export interface Throttled {
  readonly port: number;
  /** What passes in a second, each way of each connection; may be changed. */
  bytesPerSecond: number;
}

/** So many pieces a second: what is slow should come evenly, and not all at once after a long silence. */
const PIECES_A_SECOND = 10;

/**
 * Starts a proxy that passes on so many bytes a second each way of each connection. It ends with the suite. What asks
 * little of it, as health does on a connection of its own, notices nothing.
 */
export async function throttled(
  server: { readonly host: string; readonly port: number },
  bytesPerSecond: number,
): Promise<Throttled> {
  const throttle: Throttled = { port: await freePort(), bytesPerSecond };
  const open = new Set<Socket>();
  const pipe = async (from: Socket, to: Socket) => {
    try {
      for await (const whole of from as AsyncIterable<Buffer>) {
        for (let at = 0; at < whole.length; ) {
          const most = Math.max(1, Math.floor(throttle.bytesPerSecond / PIECES_A_SECOND));
          const piece = whole.subarray(at, at + most);
          at += piece.length;
          if (!to.write(piece)) await new Promise(resolve => to.once('drain', resolve).once('close', resolve));
          await sleep((piece.length / throttle.bytesPerSecond) * 1_000);
        }
      }
      to.end();
    } catch {
      to.destroy();
    }
  };
  const proxy = createServer(client => {
    const upstream = connect(server.port, server.host);
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', () => {}).on('close', () => open.delete(socket));
    }
    void pipe(client, upstream);
    void pipe(upstream, client);
  });
  await new Promise<void>(resolve => proxy.listen(throttle.port, '127.0.0.1', resolve));
  atEnd(async () => {
    for (const socket of open) socket.destroy();
    await new Promise(resolve => proxy.close(resolve));
  });
  return throttle;
}
