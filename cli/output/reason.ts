/** Why something failed, in words. */

/** The text of an error. */
export function reasonOf(error: unknown): string {
  // Of a host name with several addresses, each has failed for a reason of its own.
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(', ');
  return error instanceof Error ? error.message : String(error);
}
