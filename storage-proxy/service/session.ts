/**
 * The session as it crosses the wire: the engine's own, behind the offset that it stands for. So the service can tell
 * a caller that it is mistaken about the offset, whatever the engine's session looks like.
 *
 *     1 byte version, 8 bytes offset (big endian), the engine's session
 */
import { asSize } from '../../lib/oci/size.js';
import { fail } from '../../lib/rpc/errors.js';
import type { Checkpoint } from '../engines/engine.js';

const VERSION = 1;
const HEADER_BYTES = 9;
const MAX_SESSION_BYTES = 64 * 1024;

export function sealSession({ offset, session }: Checkpoint): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(VERSION, 0);
  header.writeBigUInt64BE(BigInt(offset), 1);
  return Buffer.concat([header, session]);
}

/** Reads what `sealSession` wrote; `malformed` for anything else. */
export function openSession(bytes: Buffer): Checkpoint {
  if (bytes.length > MAX_SESSION_BYTES) throw fail.malformed(`a session has at most ${MAX_SESSION_BYTES} bytes`);
  if (bytes.length < HEADER_BYTES || bytes.readUInt8(0) !== VERSION) throw fail.malformed('not a session of ours');
  try {
    return { offset: asSize(bytes.readBigUInt64BE(1)), session: bytes.subarray(HEADER_BYTES) };
  } catch {
    throw fail.malformed('not a session of ours');
  }
}
