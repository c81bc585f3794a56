/** An error whose text is meant for the person at the terminal, as it stands: no stack is shown with it. */
export class LocalError extends Error {
  override readonly name = 'LocalError';
}

/** The `code` of a system error (`EACCES`, `ENOENT`, …), if it is one. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
