/**
 * The only adapters between gRPC streams and the rest of the code, which knows just async iterables, promises and
 * AbortSignals.
 *
 * What makes them necessary (seen with grpc-js 1.14): a cancelled server call never fires `drain`, nor ends its
 * readable side; a call that fails tells so by an `error` event at any time, also after everybody stopped listening;
 * a client's write callbacks come early when retries are on (our channels switch them off). Hence: one write in
 * flight, every wait also ends with the call and with an AbortSignal, and an error listener that stays.
 */
import type { Readable, Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { callMade, cancelCall } from './cancel.js';
import { fail, fromServiceError, type StatusError } from './errors.js';

/** What cancels the other side when a reader stops early. Server calls have none: their handler's end ends the call. */
type Cancellable = { cancel?: () => void };

/**
 * Reads the messages of a stream, in either direction, with back-pressure: nothing is read ahead of the consumer but
 * what grpc-js buffers. Throws a StatusError when the call fails or `signal` aborts. Stopping early cancels the call.
 */
export async function* readMessages<T>(
  call: Readable & Cancellable,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  let ended = false;
  let failure: StatusError | undefined;
  let wake: () => void = () => {};
  callMade(call);
  const onReadable = () => wake();
  const onEnd = () => {
    ended = true;
    wake();
  };
  const onError = (error: unknown) => {
    failure ??= fromServiceError(error);
    wake();
  };
  const onCancel = () => onError(fail.cancelled());
  // The call is cancelled here and not only in `finally`: a consumer that does not pull would hold it for ever.
  const onAbort = () => {
    onCancel();
    cancelCall(call);
  };
  // A stream closes after its end as well, and a slow consumer hears of both at once.
  const onClose = () => {
    if (!ended) onCancel();
  };

  call.on('readable', onReadable);
  call.on('end', onEnd);
  call.on('error', onError);
  call.on('cancelled', onClose);
  call.on('close', onClose);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) onAbort();
  try {
    while (true) {
      const message: T | null = signal?.aborted ? null : call.read();
      if (message !== null) {
        yield message;
        continue;
      }
      if (signal?.aborted) throw fail.cancelled();
      if (ended && !failure && (await endedInOrder(call))) return;
      if (failure || ended) throw failure ?? fail.cancelled();
      await new Promise<void>(resolve => {
        wake = resolve;
      });
    }
  } finally {
    call.off('readable', onReadable);
    call.off('end', onEnd);
    call.off('error', onError);
    call.off('cancelled', onClose);
    call.off('close', onClose);
    signal?.removeEventListener('abort', onAbort);
    call.on('error', ignore);
    if (!ended || failure) cancelCall(call);
  }
}

/**
 * Whether a stream that has ended did so because the other side wanted it to.
 *
 * To a server, a caller that cancels looks at first like one that has said everything: Node ends a stream before it
 * resets it. Usually both arrive together, and the reset is known one turn later. Not always: so the end of a caller's
 * stream is no promise, and a contract must not take it for one (AppendUpload does not: what counts is the checkpoint
 * that the caller received).
 */
async function endedInOrder(call: Readable & { cancelled?: boolean }): Promise<boolean> {
  if (call.cancelled === undefined) return true;
  await setImmediate();
  return !call.cancelled;
}

/** The writing side of a call. */
export interface MessageWriter<T> {
  /**
   * Sends one message; resolves when the transport has taken it and there is room for the next. One at a time.
   * Rejects with a StatusError when the call fails, is cancelled, or the signal aborts.
   */
  write(message: T): Promise<void>;
  /** Ends this side. */
  end(): void;
  /** Stops listening to the call and the signal. Call it when the stream is over, however it ended. */
  release(): void;
}

/** Makes the writing side of a call, in either direction. */
export function messageWriter<T>(call: Writable & Cancellable, signal?: AbortSignal): MessageWriter<T> {
  let failure: StatusError | undefined;
  let pending: { resolve: () => void; reject: (error: StatusError) => void } | undefined;
  callMade(call);

  const settle = (error?: unknown) => {
    if (error) failure ??= fromServiceError(error);
    const waiting = pending;
    pending = undefined;
    if (waiting) failure ? waiting.reject(failure) : waiting.resolve();
  };
  const onFailure = (error?: unknown) => settle(error ?? fail.cancelled());
  const onCancel = () => onFailure();
  const onAbort = () => {
    onFailure();
    cancelCall(call);
  };

  call.on('error', onFailure);
  call.on('cancelled', onCancel);
  call.on('close', onCancel);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) onAbort();

  return {
    write(message) {
      return new Promise((resolve, reject) => {
        if (failure) return reject(failure);
        if (pending) return reject(new Error('one message is written at a time'));
        pending = { resolve, reject };
        call.write(message, error => settle(error));
      });
    },
    end() {
      if (!failure) call.end();
    },
    release() {
      call.off('error', onFailure);
      call.off('cancelled', onCancel);
      call.off('close', onCancel);
      signal?.removeEventListener('abort', onAbort);
      call.on('error', ignore);
    },
  };
}

/** A call that was given up may still report its end; nobody is there to hear it, and Node would end the process. */
function ignore(): void {}
