/** Reads the values of a row, so that what the code believes of it is checked where it enters. */
import { type Digest, parseDigest } from '../oci/digest.js';
import { asSize } from '../oci/size.js';
import type { Row } from './database.js';

function wrong(column: string, expected: string): never {
  throw new TypeError(`the database answered something else than ${expected} as ${column}`);
}

export function asText(row: Row, column: string): string {
  const value = row[column];
  return typeof value === 'string' ? value : wrong(column, 'a text');
}

export function asTexts(row: Row, column: string): string[] {
  const value = row[column];
  return Array.isArray(value) && value.every(each => typeof each === 'string')
    ? value
    : wrong(column, 'a list of texts');
}

/** A whole number, 0 or more. */
export function asNumber(row: Row, column: string): number {
  return asSize(row[column]);
}

export function asBytes(row: Row, column: string): Buffer {
  const value = row[column];
  return Buffer.isBuffer(value) ? value : wrong(column, 'bytes');
}

export function asDigestValue(row: Row, column: string): Digest {
  return parseDigest(asText(row, column)) ?? wrong(column, 'a digest');
}

/** The value if there is one, read by `read`. */
export function optional<T>(row: Row, column: string, read: (row: Row, column: string) => T): T | undefined {
  return row[column] === null || row[column] === undefined ? undefined : read(row, column);
}
