/**
 * Cancelling a call, from the client's side.
 *
 * Never in the turn in which the call was made: grpc-js (1.14) then reports the cancellation, opens the stream all the
 * same a moment later, and never ends it; the server's handler would wait for ever for a reader that is not there.
 */

type Cancellable = { cancel?: () => void };

/** The calls that were made in this turn. */
const young = new WeakSet<Cancellable>();

/** Says that a call has just been made. Every call that may be cancelled is reported here. */
export function callMade(call: Cancellable): void {
  young.add(call);
  setImmediate(() => young.delete(call));
}

/** Cancels a call as soon as that can be done. Nothing happens if it has ended, or is a server's. */
export function cancelCall(call: Cancellable): void {
  if (young.has(call)) setImmediate(() => call.cancel?.());
  else call.cancel?.();
}
