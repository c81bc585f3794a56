/** Why something failed, in words. */

/** The text of an error. What gRPC says of a connection that could not be made is shortened to its cause. */
export function reasonOf(error: unknown): string {
  // Of a host name with several addresses, each has failed for a reason of its own.
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(', ');
  const text = error instanceof Error ? error.message : String(error);
  return /^No connection established\. Last error: (?:Error: )?(.+?)\.? Resolution note:/.exec(text)?.[1] ?? text;
}
