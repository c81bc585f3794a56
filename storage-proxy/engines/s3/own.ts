/** Which multipart upload this process may go on with: a multipart upload has one writer, who knows all that was sent to it. */
import type { OpenParts, Upload } from './session.js';

/** The multipart upload that this process, and nobody else, has been writing to. */
export interface Own {
  readonly uploadId: string;
  /** Parts that were sent, acknowledged or not. */
  readonly sent: number;
}

/**
 * Whether a multipart upload may be written to after these parts. If more was sent than the session knows of, it may
 * not: what was given up may still arrive.
 */
export function mayContinue(own: Own | undefined, parts: OpenParts | undefined): boolean {
  return own !== undefined && parts?.uploadId === own.uploadId && parts.parts.length === own.sent;
}

/**
 * What an append can write to at its start. Parts that go straight to a blob's key may be sent again: nothing else can take
 * their place, and if one that was given up arrives later, the commit fails, and the caller begins again.
 */
export function ownAtStart(own: Own | undefined, { open, direct }: Upload): Own | undefined {
  if (!open && direct && own?.uploadId === direct.uploadId) return { ...own, sent: direct.parts.length };
  return mayContinue(own, open) ? own : undefined;
}
