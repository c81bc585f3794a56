/**
 * The Admin service, as commands call it. It does not matter which worker answers: when that one is gone, a call that can
 * go on does so at the next.
 */
import type { Readable } from 'node:stream';
import { type CallContext, callMetadata, callUnary, type UnaryMethod } from '../../lib/rpc/call.js';
import { hasReason, StatusError } from '../../lib/rpc/errors.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import { Failure } from '../exit.js';
import { reasonOf } from '../output/reason.js';
import { Patience, type Worker, type Workers } from './workers.js';

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

export interface AdminOptions {
  readonly workers: Workers;
  readonly first: Worker;
  readonly context: CallContext & { readonly signal: AbortSignal };
  /** Hears that a worker is gone, why, and which one is asked now. */
  readonly onNext: (lost: { readonly address: string; readonly reason: string }, now: string) => void;
}

export class Admin {
  readonly #options: AdminOptions;
  #worker: Worker;

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#worker = options.first;
  }

  /** For its methods, which `ask` and `follow` take. */
  get client(): AdminClient {
    return this.#worker.client;
  }

  /** Makes a call with one answer; all of them may be made twice. Throws a StatusError. */
  async ask<Request, Response>(method: UnaryMethod<Request, Response>, request: Request): Promise<Response> {
    const patience = new Patience(this.#options.context.signal);
    while (true) {
      try {
        return await callUnary<Request, Response>(
          method.bind(this.client),
          request,
          this.#options.context,
          DEADLINE_MS,
        );
      } catch (error) {
        if (!isGone(error)) throw error;
        await this.#next(error, patience);
      }
    }
  }

  /**
   * Makes a call whose answer is a stream, for as long as it takes. `goOn` makes the request with which the next worker
   * goes on, from the last answer, if there was one; without it the call cannot go on. Throws a StatusError.
   */
  async *follow<Request, Response>(
    method: StreamMethod<Request, Response>,
    request: Request,
    goOn?: (last: Response | undefined) => Request,
  ): AsyncIterable<Response> {
    const { context } = this.#options;
    const call = method as unknown as FullStreamMethod<Request, Response>;
    const patience = new Patience(context.signal);
    let last: Response | undefined;
    let next = request;
    while (true) {
      try {
        const answers = call.call(this.client, next, callMetadata(context));
        for await (const answer of readMessages<Response>(answers, context.signal)) {
          last = answer;
          patience.renew();
          yield answer;
        }
        return;
      } catch (error) {
        if (!goOn) throw error;
        if (isGone(error)) await this.#next(error, patience);
        // The worker that is gone holds its right to work on the location for some seconds still.
        else if (hasReason(error, 'BUSY_ELSEWHERE') && patience.isTried) await patience.bear(error);
        else throw error;
        next = goOn(last);
      }
    }
  }

  /** Goes on at the next worker that answers. Throws `error` if none does for a while. */
  async #next(error: StatusError, patience: Patience): Promise<void> {
    const lost = { address: this.#worker.address, reason: reasonOf(error) };
    while (true) {
      await patience.bear(error);
      try {
        this.#worker = await this.#options.workers.next();
        return this.#options.onNext(lost, this.#worker.address);
      } catch (failure) {
        if (!(failure instanceof Failure)) throw failure;
      }
    }
  }
}

/** Whether a call failed since its worker is gone, or ends: another one may be asked. */
function isGone(error: unknown): error is StatusError {
  if (!(error instanceof StatusError) || error.status !== 'UNAVAILABLE') return false;
  return error.reason === undefined || error.reason === 'DRAINING';
}
