/** Lists that come page by page: `n` entries after `last`, and a `Link` to the next page (RFC 8288). */
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';

/** A page holds no more entries than this, whatever is asked for; the rest follows by `Link`. */
export const LARGEST_PAGE = 1_000;

export interface PageRequest<Key extends string> {
  /** How many entries. */
  readonly limit: number;
  /** The entry after which the page begins; undefined: at the first. */
  readonly last: Key | undefined;
}

/** Reads `n` and `last`; `what` one entry is, and `parse` makes one of a text, or undefined. Throws for a malformed one. */
export function readPage<Key extends string>(
  query: URLSearchParams,
  what: string,
  parse: (text: string) => Key | undefined,
): PageRequest<Key> {
  const [n, text] = [query.get('n') || undefined, query.get('last') || undefined];
  if (n !== undefined && !/^[0-9]{1,15}$/.test(n)) {
    throw oci.parameterInvalid('n must be the number of entries of a page, 0 or more');
  }
  const last = text === undefined ? undefined : parse(text);
  if (text !== undefined && last === undefined) throw oci.parameterInvalid(`last must be a ${what}`);
  return { limit: n === undefined ? LARGEST_PAGE : Math.min(Number(n), LARGEST_PAGE), last };
}

/** Says where the next page is. */
export function linkNext(ctx: Context, path: string, query: Readonly<Record<string, string | number>>): void {
  const text = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  ctx.set('Link', `<${path}?${text.join('&')}>; rel="next"`);
}
