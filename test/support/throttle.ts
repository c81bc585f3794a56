/** A slow way to a server: a TCP proxy in front of it. */
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.js';
import { atEnd } from './suite.js';

/** Starts a proxy that passes on so many bytes a second each way of each connection; resolves to its port. It ends with the suite. */
export async function throttled(
  server: { readonly host: string; readonly port: number },
  bytesPerSecond: number,
): Promise<number> {
  const port = await freePort();
  const open = new Set<Socket>();
  const pipe = async (from: Socket, to: Socket) => {
    try {
      for await (const piece of from as AsyncIterable<Buffer>) {
        if (!to.write(piece)) await new Promise(resolve => to.once('drain', resolve).once('close', resolve));
        await sleep((piece.length / bytesPerSecond) * 1_000);
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
  await new Promise<void>(resolve => proxy.listen(port, '127.0.0.1', resolve));
  atEnd(async () => {
    for (const socket of open) socket.destroy();
    await new Promise(resolve => proxy.close(resolve));
  });
  return port;
}
