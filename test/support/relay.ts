/** A TCP relay in front of a listener: counts what comes back from it, and can be slow, or cut. */
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { atEnd } from './suite.js';

export interface Relay {
  readonly port: number;
  /** Where it leads to, on this machine; to be set before the first connection. */
  target: number;
  /** Bytes that came back from the listener so far, over all connections. */
  readonly received: number;
  /** How many of them are let through in a second; any number if undefined. */
  bytesPerSecond: number | undefined;
  /** Ends the connections that are open. */
  cut(): void;
}

/** Starts a relay; it ends with the suite. */
export async function startRelay(): Promise<Relay> {
  const sockets = new Set<Socket>();
  let received = 0;
  let freeAt = 0;
  const server = createServer(client => {
    const upstream = connect(relay.target, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
        sockets.delete(socket);
      });
    }
    client.pipe(upstream);
    upstream.on('data', async piece => {
      received += piece.length;
      upstream.pause();
      if (relay.bytesPerSecond !== undefined) {
        freeAt = Math.max(freeAt, performance.now()) + (piece.length / relay.bytesPerSecond) * 1_000;
        await sleep(freeAt - performance.now());
      }
      if (client.write(piece) || client.destroyed) upstream.resume();
      else client.once('drain', () => upstream.resume());
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the relay does not listen');
  const relay = {
    port: address.port,
    target: 0,
    get received() {
      return received;
    },
    bytesPerSecond: undefined as number | undefined,
    cut() {
      for (const socket of sockets) socket.destroy();
    },
  };
  atEnd(() => {
    server.close();
    relay.cut();
  });
  return relay;
}
