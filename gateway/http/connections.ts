/**
 * The connections of an HTTP server that is to end: which of them rest, and how many requests are in flight.
 *
 * Node's own `closeIdleConnections` also cuts one whose answer has gone out this very moment, while its client is about to
 * send the next request over it.
 */
import type { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

interface Connection {
  /** The answer that is being given; if others wait for it, the last of them. */
  answer: ServerResponse | undefined;
  /** When the last one was over, or the connection began. */
  restingSince: number;
}

export class Connections {
  readonly #all = new Map<Socket, Connection>();

  /** Watches the connections that a server reports with `event`. */
  watch(server: EventEmitter, event: 'connection' | 'secureConnection'): void {
    server.on(event, (socket: Socket) => {
      this.#all.set(socket, { answer: undefined, restingSince: performance.now() });
      socket.once('close', () => this.#all.delete(socket));
    });
  }

  /** Call at the beginning of each request. (One that waits for the answer before has no socket yet.) */
  begin(socket: Socket, res: ServerResponse): void {
    const connection = this.#all.get(socket);
    if (!connection) return;
    connection.answer = res;
    res.once('close', () => {
      if (connection.answer !== res) return;
      connection.answer = undefined;
      connection.restingSince = performance.now();
    });
  }

  /** The answers that are being given. */
  get answers(): ServerResponse[] {
    return [...this.#all.values()].flatMap(({ answer }) => answer ?? []);
  }

  /** Ends those that have rested for so long. */
  endResting(forMs: number): void {
    const now = performance.now();
    for (const [socket, { answer, restingSince }] of this.#all)
      if (!answer && now - restingSince >= forMs) socket.destroy();
  }
}
