/** `Warning` headers, as the distribution specification has them ("Warnings"): for people, beside an answer that succeeds. */
import type { Context } from './context.js';

/** What all warnings of an answer may have together, in bytes. */
const MOST_BYTES = 4_096;

/** Adds a warning; one that does not fit beside those before it is left out. */
export function warn(ctx: Context, text: string): void {
  const before = ctx.res.getHeader('Warning');
  const all = [...(Array.isArray(before) ? before : []), `299 - "${quotable(text)}"`];
  if (all.join('').length <= MOST_BYTES) ctx.set('Warning', all);
}

/** What can stand between quotes in a header: printable ASCII, with quotes and backslashes escaped. */
function quotable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&');
}
