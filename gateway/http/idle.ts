/**
 * Ends connections whose client is silent.
 *
 * Node tells when a socket has moved no byte for a while, in either direction. That alone is no reason to end it: the
 * client may be waiting for us, as while a large blob is verified. It is ended if we wait for the client: for a
 * request, for more of its body, or for it to read our answer.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** What a connection is busy with. */
export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

export interface IdleConnections {
  /** Call at the beginning of each request. */
  begin(req: IncomingMessage, res: ServerResponse): void;
  /** The request that a connection is busy with. */
  current(socket: object): Exchange | undefined;
}

export function endIdleConnections(server: Server, timeoutMs: number): IdleConnections {
  const exchanges = new WeakMap<object, Exchange>();
  server.setTimeout(timeoutMs);
  server.on('timeout', (socket: Socket) => {
    const exchange = exchanges.get(socket);
    if (exchange && isOurTurn(exchange, socket)) socket.setTimeout(timeoutMs);
    else socket.destroy();
  });
  return {
    begin(req, res) {
      const { socket } = req;
      exchanges.set(socket, { req, res });
      res.once('close', () => {
        if (exchanges.get(socket)?.res === res) exchanges.delete(socket);
      });
    },
    current: socket => exchanges.get(socket),
  };
}

function isOurTurn({ req, res }: Exchange, socket: Socket): boolean {
  const waitsForBody = !req.complete && req.readableLength === 0;
  const waitsForReader = socket.writableLength > 0 || res.writableLength > 0;
  return !waitsForBody && !waitsForReader;
}
