/** The one gate for 64-bit sizes: whatever a proto, an int8 column or a header gave, from here on it is a safe integer >= 0. */

/** Reads a size or offset in bytes. Throws a RangeError for what is not one (also above 2^53 - 1, where doubles lose count). */
export function asSize(value: unknown): number {
  const size = typeof value === 'string' && /^[0-9]{1,16}$/.test(value) ? Number(value) : value;
  if (typeof size === 'bigint') return asSize(Number(size));
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new RangeError(`not a size in bytes: ${String(value).slice(0, 40)}`);
  }
  return size;
}
