/** A TCP relay between two processes of a test: counts what passes, can be slow, and can be cut. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.js';
import { atEnd } from './suite.js';

export interface Relay {
  /** Where it listens. */
  readonly port: number;
  /** Where it leads to; connections made before it is known are refused. */
  target: number | undefined;
  /** Bytes that came from the target so far, whether or not anybody got them. */
  readonly received: number;
  /** Bytes that went to the target so far. */
  readonly sent: number;
  /** What may come from the target in a second, over all connections. */
  bytesPerSecond: number;
  /** What may go to it. */
  sentPerSecond: number;
  /** From now on nothing passes, and nobody is told; or again. Connections that were open stay dead. */
  cut(): void;
  mend(): void;
}

/** Starts a relay; it ends with the suite. `host`: the address that it listens on. */
export async function startRelay(host = '127.0.0.1'): Promise<Relay> {
  const sockets = new Set<Socket>();
  let received = 0;
  let sent = 0;
  let isCut = false;
  const arrival = pace(() => relay.bytesPerSecond);
  const departure = pace(() => relay.sentPerSecond);

  async function carry(from: Socket, to: Socket, meter: (bytes: number) => Promise<void>): Promise<void> {
    for await (const piece of from) {
      await meter(piece.length);
      if (isCut) return void (await once(from, 'close'));
      if (!to.write(piece)) await once(to, 'drain');
    }
    to.end();
  }
  const server = createServer({ noDelay: true }, near => {
    if (relay.target === undefined || isCut) return void near.destroy();
    const far = connect({ port: relay.target, host: '127.0.0.1', noDelay: true });
    const end = () => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        if (!isCut) end();
      });
    }
    carry(near, far, bytes => {
      sent += bytes;
      return departure(bytes);
    }).catch(end);
    carry(far, near, bytes => {
      received += bytes;
      return arrival(bytes);
    }).catch(end);
  });
  const relay: Relay = {
    port: await freePort(),
    target: undefined,
    get received() {
      return received;
    },
    get sent() {
      return sent;
    },
    bytesPerSecond: Number.POSITIVE_INFINITY,
    sentPerSecond: Number.POSITIVE_INFINITY,
    cut: () => {
      isCut = true;
    },
    mend: () => {
      isCut = false;
      for (const socket of sockets) socket.destroy();
    },
  };
  server.listen(relay.port, host);
  await once(server, 'listening');
  atEnd(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return relay;
}

/** Lets bytes pass, one piece after the other, no faster than the rate says now. */
function pace(rate: () => number): (bytes: number) => Promise<void> {
  let freeAt = 0;
  return async bytes => {
    const now = performance.now();
    freeAt = Math.max(now, freeAt) + (bytes / rate()) * 1_000;
    if (freeAt > now) await sleep(freeAt - now);
  };
}
