/**
 * The session of an upload: which objects and parts in the bucket it stands for, in the order of their bytes.
 *
 * Parts take about 28 characters each and are bounded by MAX_PARTS for each of the two lists, completed objects take
 * about 22 and stand for up to MAX_PARTS parts each: 5 TiB are about 1,300 of them, and a session of 60 KiB.
 */
import { z } from 'zod';
import { type Digest, type DigestAlgorithm, parseDigest } from '../../../lib/oci/digest.js';
import { fail } from '../../../lib/rpc/errors.js';
import type { Session } from '../engine.js';
import { isName, isUploadId } from './keys.js';

/** A part of a multipart upload, as the store has acknowledged it. */
export interface Part {
  readonly etag: string;
  readonly size: number;
}

/** A multipart upload that is being written to. Its parts are numbered from 1, without gaps. */
export interface OpenParts {
  readonly uploadId: string;
  readonly parts: readonly Part[];
}

/** The first `length` bytes of the object `name` of an upload. */
export interface Piece {
  readonly name: string;
  readonly length: number;
  /** The object has no more bytes than these. */
  readonly whole: boolean;
}

export interface Upload {
  readonly id: string;
  /** The algorithm that its closing digest is expected to have. */
  readonly algorithm: DigestAlgorithm;
  /** The digest, if it was known from the start. */
  readonly digest: Digest | undefined;
  /** Whether its marker is in the bucket. */
  readonly marked: boolean;
  /** The size, once all its bytes are at the blob's key, verified. */
  readonly stored: number | undefined;
  /** Parts that go straight to the blob's key: the first bytes. */
  readonly direct: OpenParts | undefined;
  /** Completed objects: what follows. Each is large enough to be a part. */
  readonly sealed: readonly Piece[];
  /** Parts of the object `name`: what follows. */
  readonly open: (OpenParts & { readonly name: string }) | undefined;
  /** Objects that are too small for a part, even together: the last bytes. */
  readonly loose: readonly Piece[];
}

/** What to remove when nobody holds a session any more. */
export type Stray =
  | { readonly kind: 'upload'; readonly id: string }
  | { readonly kind: 'parts'; readonly digest: Digest; readonly uploadId: string };

/** Parts of one multipart upload. Stores take 10,000, some of them 1,000; more would not fit into a session. */
export const MAX_PARTS = 500;

/** Small objects at the end of an upload; more are folded into one. */
export const MAX_LOOSE = 256;

const VERSION = 1;

export function sizeOf(upload: Upload): number {
  const pieces = [...upload.sealed, ...upload.loose].reduce((sum, { length }) => sum + length, 0);
  return (upload.stored ?? 0) + sizeOfParts(upload.direct) + sizeOfParts(upload.open) + pieces;
}

export function sizeOfParts(open: OpenParts | undefined): number {
  return open?.parts.reduce((sum, { size }) => sum + size, 0) ?? 0;
}

export function writeSession(upload: Upload): Session {
  const { id, algorithm, digest, marked, stored, direct, sealed, open, loose } = upload;
  const row: z.input<typeof uploadRow> = [
    VERSION,
    id,
    algorithm,
    digest ?? null,
    marked,
    stored ?? null,
    direct ? [direct.uploadId, writeParts(direct.parts)] : null,
    writePieces(sealed),
    open ? [open.uploadId, writeParts(open.parts), open.name] : null,
    writePieces(loose),
  ];
  return Buffer.from(JSON.stringify(row));
}

export function writeStray(stray: Stray): Session {
  return Buffer.from(JSON.stringify(stray));
}

/** Reads what `writeSession` wrote. Callers kept it for us, so nothing in it is trusted: names become parts of keys. */
export function readSession(session: Session): Upload {
  const found = read(session);
  if ('kind' in found) throw malformed();
  return found;
}

/** Reads what `writeSession` or `writeStray` wrote. */
export function readAnySession(session: Session): Upload | Stray {
  return read(session);
}

const size = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const id = z.string().refine(isUploadId);
const name = z.string().refine(isName);
const uploadId = z.string().min(1).max(1_024);
const digestText = z.string().transform((text, context): Digest => {
  const digest = parseDigest(text);
  if (digest) return digest;
  context.addIssue('not a digest');
  return z.NEVER;
});
const partList = z.string().transform(readParts);
const pieceList = z.string().transform(readPieces);

const uploadRow = z.tuple([
  z.literal(VERSION),
  id,
  z.enum(['sha256', 'sha512']),
  digestText.nullable(),
  z.boolean(),
  size.nullable(),
  z.tuple([uploadId, partList]).nullable(),
  pieceList,
  z.tuple([uploadId, partList, name]).nullable(),
  pieceList,
]);

const strayForm = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('upload'), id }),
  z.strictObject({ kind: z.literal('parts'), digest: digestText, uploadId }),
]);

function read(session: Session): Upload | Stray {
  let value: unknown;
  try {
    value = JSON.parse(session.toString());
  } catch {
    throw malformed();
  }
  if (!Array.isArray(value)) return parsed(strayForm, value);
  const [, id, algorithm, digest, marked, stored, direct, sealed, open, loose] = parsed(uploadRow, value);
  const upload: Upload = {
    id,
    algorithm,
    digest: digest ?? undefined,
    marked,
    stored: stored ?? undefined,
    direct: direct ? { uploadId: direct[0], parts: direct[1] } : undefined,
    sealed,
    open: open ? { uploadId: open[0], parts: open[1], name: open[2] } : undefined,
    loose,
  };
  if (!Number.isSafeInteger(sizeOf(upload)) || loose.length > MAX_LOOSE) throw malformed();
  return upload;
}

function parsed<T>(form: z.ZodType<T>, value: unknown): T {
  const result = form.safeParse(value);
  if (!result.success) throw malformed();
  return result.data;
}

function malformed() {
  return fail.malformed('the session is not one that this engine gave out');
}

/** Entity tags of 32 hex digits, as nearly all are, take 22 characters. */
function writeParts(parts: readonly Part[]): string {
  const words = parts.map(({ etag, size }) => {
    const tag = /^[0-9a-f]{32}$/.test(etag) ? Buffer.from(etag, 'hex').toString('base64url') : `=${etag}`;
    return `${tag}:${size.toString(36)}`;
  });
  return words.join(' ');
}

function readParts(text: string, context: z.RefinementCtx): readonly Part[] {
  return words(text, context, word => {
    const [, tag = '', size = ''] = /^(=[^\s:]+|[\w-]{22}):([0-9a-z]{1,11})$/.exec(word) ?? [];
    if (tag === '') return undefined;
    const etag = tag.startsWith('=') ? tag.slice(1) : Buffer.from(tag, 'base64url').toString('hex');
    return { etag, size: Number.parseInt(size, 36) };
  });
}

function writePieces(pieces: readonly Piece[]): string {
  return pieces.map(({ name, length, whole }) => `${name}:${length.toString(36)}${whole ? '' : '~'}`).join(' ');
}

function readPieces(text: string, context: z.RefinementCtx): readonly Piece[] {
  return words(text, context, word => {
    const [, name = '', length = '', rest] = /^([0-9a-f]{12}):([0-9a-z]{1,11})(~?)$/.exec(word) ?? [];
    return isName(name) ? { name, length: Number.parseInt(length, 36), whole: rest === '' } : undefined;
  });
}

function words<T>(text: string, context: z.RefinementCtx, readWord: (word: string) => T | undefined): T[] {
  const found: T[] = [];
  for (const word of text === '' ? [] : text.split(' ')) {
    const value = readWord(word);
    if (value === undefined) {
      context.addIssue('not a list of ours');
      return z.NEVER;
    }
    found.push(value);
  }
  return found;
}
