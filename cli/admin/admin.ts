/** The Admin service of one worker, as commands call it. */
import type { Readable } from 'node:stream';
import { type CallContext, callMetadata, callUnary, type UnaryMethod } from '../../lib/rpc/call.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';

type Answers<Response> = Readable & { deserialize(bytes: Buffer): Response; cancel(): void };

/** A method that answers with a stream; of the generated overloads, the one that TypeScript infers types from. */
type StreamMethod<Request, Response> = (request: Request) => Answers<Response>;

/** The one that is called. */
type FullStreamMethod<Request, Response> = (
  request: Request,
  metadata: ReturnType<typeof callMetadata>,
) => Answers<Response>;

/** No call without a stream takes long, but a statement may have to wait for others. */
const DEADLINE_MS = 60_000;

export class Admin {
  /** For its methods, which `ask` and `follow` take. */
  readonly client: AdminClient;
  /** `host:port`. */
  readonly address: string;
  readonly #context: CallContext;

  constructor(client: AdminClient, address: string, context: CallContext) {
    this.client = client;
    this.address = address;
    this.#context = context;
  }

  /** Makes a call with one answer. Throws a StatusError. */
  ask<Request, Response>(method: UnaryMethod<Request, Response>, request: Request): Promise<Response> {
    return callUnary<Request, Response>(method.bind(this.client), request, this.#context, DEADLINE_MS);
  }

  /** Makes a call whose answer is a stream, for as long as it takes. Throws a StatusError. */
  follow<Request, Response>(method: StreamMethod<Request, Response>, request: Request): AsyncIterable<Response> {
    const call = method as unknown as FullStreamMethod<Request, Response>;
    return readMessages<Response>(call.call(this.client, request, callMetadata(this.#context)), this.#context.signal);
  }
}
