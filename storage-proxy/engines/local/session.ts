/** The session of an upload to LocalStorage: which byte ranges of which files it stands for. */
import { type DigestAlgorithm, isDigestAlgorithm } from '../../../lib/oci/digest.js';
import { fail } from '../../../lib/rpc/errors.js';
import type { Session } from '../engine.js';
import { isUploadName } from './layout.js';

/** The first `length` bytes of the file `name` in the upload's folder. */
export interface Segment {
  readonly name: string;
  readonly length: number;
}

export interface Upload {
  /** The name of its folder. */
  readonly name: string;
  /** The algorithm that its closing digest is expected to have. */
  readonly algorithm: DigestAlgorithm;
  /** Its bytes, in order. */
  readonly segments: readonly Segment[];
}

/** An upload with so many segments is folded into one: sessions stay far below 64 KiB. */
export const MAX_SEGMENTS = 500;

const VERSION = 1;
const SEGMENT_NAME = /^[0-9a-f]{12}$/;

export function sizeOf(upload: Upload): number {
  return upload.segments.reduce((sum, segment) => sum + segment.length, 0);
}

export function writeSession({ name, algorithm, segments }: Upload): Session {
  return Buffer.from(
    JSON.stringify([VERSION, name, algorithm, segments.map(segment => [segment.name, segment.length])]),
  );
}

/** Reads what `writeSession` wrote. Callers kept it for us, so nothing in it is trusted: names become parts of paths. */
export function readSession(session: Session): Upload {
  let value: unknown;
  try {
    value = JSON.parse(session.toString());
  } catch {
    throw malformed();
  }
  if (!Array.isArray(value) || value.length !== 4 || value[0] !== VERSION) throw malformed();
  const [, name, algorithm, segments] = value as unknown[];
  if (typeof name !== 'string' || !isUploadName(name)) throw malformed();
  if (typeof algorithm !== 'string' || !isDigestAlgorithm(algorithm)) throw malformed();
  if (!Array.isArray(segments) || segments.length > MAX_SEGMENTS) throw malformed();
  const upload: Upload = { name, algorithm, segments: segments.map(readSegment) };
  if (!Number.isSafeInteger(sizeOf(upload))) throw malformed();
  return upload;
}

function readSegment(value: unknown): Segment {
  if (!Array.isArray(value) || value.length !== 2) throw malformed();
  const [name, length] = value as unknown[];
  if (typeof name !== 'string' || !SEGMENT_NAME.test(name)) throw malformed();
  if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 1) throw malformed();
  return { name, length };
}

function malformed() {
  return fail.malformed('the session is not one that this engine gave out');
}

/** Whether two lists stand for the same bytes. */
export function sameSegments(a: readonly Segment[], b: readonly Segment[]): boolean {
  return (
    a.length === b.length && a.every((segment, i) => segment.name === b[i]?.name && segment.length === b[i].length)
  );
}
