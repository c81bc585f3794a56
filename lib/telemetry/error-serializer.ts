/**
 * How errors are written to the log: type, message, code and stack, and those of their causes.
 *
 * Nothing else of them, because clients of databases and clouds hang whole requests on their errors, headers included.
 */
import { stripCredentials } from './credentials.js';

/** What is logged of an error. */
export interface SerializedError {
  readonly type: string;
  readonly message: string;
  readonly code?: string | number;
  readonly stack?: string;
  readonly cause?: SerializedError;
  /** Of an AggregateError, for example one per address that refused a connection. */
  readonly errors?: readonly SerializedError[];
}

const MAXIMUM_DEPTH = 4;

/** Serializes whatever was thrown. */
export function serializeError(error: unknown, depth = 0): SerializedError {
  if (!(error instanceof Error)) return { type: typeof error, message: stripCredentials(String(error)) };
  const { code } = error as { code?: unknown };
  const deeper = depth < MAXIMUM_DEPTH;
  return {
    type: error.name,
    message: stripCredentials(error.message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: stripCredentials(error.stack) }),
    ...(deeper && error.cause !== undefined ? { cause: serializeError(error.cause, depth + 1) } : {}),
    ...(deeper && error instanceof AggregateError
      ? { errors: error.errors.slice(0, 8).map(inner => serializeError(inner, depth + 1)) }
      : {}),
  };
}
