/** The two kinds of ranges of the registry API: `Range` of RFC 9110 on pulls, `Content-Range` of chunked uploads. */

/** A part of a blob that exists. */
export interface Part {
  readonly offset: number;
  readonly length: number;
}

/**
 * Reads a `Range` header against a blob of `size` bytes. `whole` if there is none, or one that RFC 9110 lets a server
 * ignore (another unit, several ranges, malformed); `unsatisfiable` if no byte of it exists, or it is backwards
 * (RFC 9110 would ignore that one; the conformance suite asks for 416).
 */
export function parseRange(header: string | undefined, size: number): Part | 'whole' | 'unsatisfiable' {
  // However many digits a number has: what is too large for a double is infinite, and beyond any blob.
  const match = header === undefined ? null : /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(header);
  if (!match) return 'whole';
  const [, first = '', last = ''] = match;
  if (first === '' && last === '') return 'whole';
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const offset = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return offset >= size || end < offset ? 'unsatisfiable' : { offset, length: end - offset + 1 };
}

/** Reads the `Content-Range` of an uploaded chunk, `start-end` (inclusive, without a unit); undefined if it is malformed. */
export function parseContentRange(header: string): { readonly start: number; readonly end: number } | undefined {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(header);
  if (!match) return undefined;
  const [start, end] = [Number(match[1]), Number(match[2])];
  return end < start ? undefined : { start, end };
}
