/** What every request carries through its middleware and handlers. */
import type { DefaultContext, ParameterizedContext } from 'koa';
import type { Logger } from 'pino';
import type { Caller } from '../auth/caller.js';
import type { ErrorCode } from './errors.js';

export interface RequestState {
  /** 32 hex digits that tie together everything done for this request, over all processes. */
  readonly traceId: string;
  /** Aborts when the client is gone before it has its whole answer. */
  readonly signal: AbortSignal;
  /** Nobody, who may do nothing, until the request's token was looked at. */
  caller: Caller;
  readonly log: Logger;
  /** For the log: the kind of resource, and the repository, once they are known. */
  route?: string;
  repository?: string;
  /** For the log: who has signed in. */
  user?: string;
  /** For the log: the code of the error that was answered. */
  errorCode?: ErrorCode;
}

export type Context = ParameterizedContext<RequestState, DefaultContext, Buffer | string | null>;
export type Next = () => Promise<void>;
