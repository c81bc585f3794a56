/**
 * A client whose connection is renewed now and then, so that a certificate that was replaced does not count for ever.
 * New calls go over the new connection; those in flight go on over the old one, which is closed when the last has ended.
 *
 * Why the client does it: when a server tells that it wants to end a connection (GOAWAY, as grpc-js's option
 * `grpc.max_connection_age_ms` has it), Node.js sends no pings over it any more, and grpc-js (1.14) takes that for a
 * connection that is dead: at its next keepalive, a second later, it cuts off every stream that is in flight.
 */
import type { ClientOptions } from '@grpc/grpc-js';
import { traceCalls } from './traced-calls.js';

interface Closable {
  close(): void;
}

interface Generation<Client> {
  readonly client: Client;
  /** When another one takes its place. */
  readonly until: number;
  calls: number;
}

/** How long a connection under TLS is used for new calls. */
export const CONNECTION_AGE_MS = 10 * 60_000;

/** Somebody may hold a client and be about to call. */
const RETIRED_MS = 30_000;

export class Renewed<Client extends Closable> {
  readonly #open: (options: ClientOptions) => Client;
  readonly #ageMs: number;
  readonly #retired = new Map<Generation<Client>, NodeJS.Timeout>();
  #current: Generation<Client> | undefined;
  #closed = false;

  /** `open` makes a client with these options among others; it is used for `ageMs` milliseconds. */
  constructor(open: (options: ClientOptions) => Client, ageMs: number) {
    this.#open = open;
    this.#ageMs = ageMs;
  }

  /** The client for a call that begins now. */
  get client(): Client {
    if (this.#current && !this.#closed && performance.now() > this.#current.until) this.#retire(this.#current);
    this.#current ??= this.#begin();
    return this.#current.client;
  }

  /** Ends all of it. A call that begins later fails. */
  close(): void {
    this.#closed = true;
    this.client.close();
    for (const [{ client }, timer] of this.#retired) {
      clearInterval(timer);
      client.close();
    }
    this.#retired.clear();
  }

  #begin(): Generation<Client> {
    const client = this.#open({
      interceptors: [traceCalls],
      callInvocationTransformer: properties => {
        generation.calls++;
        properties.call.once('status', () => generation.calls--);
        return properties;
      },
    });
    // Those that begin together do not end together.
    const until = performance.now() + this.#ageMs * (0.9 + Math.random() * 0.2);
    const generation: Generation<Client> = { client, until, calls: 0 };
    return generation;
  }

  #retire(generation: Generation<Client>): void {
    this.#current = undefined;
    const look = () => {
      if (generation.calls > 0) return;
      clearInterval(this.#retired.get(generation));
      this.#retired.delete(generation);
      generation.client.close();
    };
    this.#retired.set(generation, setInterval(look, Math.min(RETIRED_MS, this.#ageMs)).unref());
  }
}
