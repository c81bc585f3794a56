/**
 * Requests that a client sends over one connection before it has the answers to those before (RFC 9112, 9.3.2). They are
 * taken one after the other: the next may close the upload that this one still writes.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** More than a client has a use for. While they wait, nothing but this bounds how many a connection holds in memory. */
const MOST_WAITING = 32;

export class Turns {
  readonly #waiting = new WeakMap<object, number>();

  /** Runs `handle` when the answer before is over, unless the client is gone by then. A client that sends too many is cut. */
  after(before: ServerResponse, { socket }: IncomingMessage, handle: () => void): void {
    const waiting = this.#waiting.get(socket) ?? 0;
    if (waiting === MOST_WAITING) {
      socket.destroy();
      return;
    }
    this.#waiting.set(socket, waiting + 1);
    before.once('close', () => {
      this.#waiting.set(socket, (this.#waiting.get(socket) ?? 1) - 1);
      if (!socket.destroyed) handle();
    });
  }
}
