/** The Admin service of one worker, as commands call it. */
import type { Readable } from 'node:stream';
import { callUnary, type UnaryMethod } from '../../lib/rpc/call.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';

/** A method that answers with a stream; of the generated overloads, the one that TypeScript infers types from. */
type StreamMethod<Request, Response> = (
  request: Request,
) => Readable & { deserialize(bytes: Buffer): Response; cancel(): void };

/** No call without a stream takes long, but a statement may have to wait for others. */
const DEADLINE_MS = 60_000;

export class Admin {
  /** For its methods, which `ask` and `follow` take. */
  readonly client: AdminClient;
  /** `host:port`. */
  readonly address: string;
  readonly #signal: AbortSignal;

  constructor(client: AdminClient, address: string, signal: AbortSignal) {
    this.client = client;
    this.address = address;
    this.#signal = signal;
  }

  /** Makes a call with one answer. Throws a StatusError. */
  ask<Request, Response>(method: UnaryMethod<Request, Response>, request: Request): Promise<Response> {
    return callUnary<Request, Response>(method.bind(this.client), request, { signal: this.#signal }, DEADLINE_MS);
  }

  /** Makes a call whose answer is a stream, for as long as it takes. Throws a StatusError. */
  follow<Request, Response>(method: StreamMethod<Request, Response>, request: Request): AsyncIterable<Response> {
    return readMessages<Response>(method.call(this.client, request), this.#signal);
  }
}
