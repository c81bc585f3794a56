/** Trace ids: one per request, handed on to everything that the request causes (W3C Trace Context). */
import { randomBytes } from 'node:crypto';

// version "-" trace-id "-" parent-id "-" flags, and in versions after 00 possibly more
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;

/** A new trace id: 32 hexadecimal digits, not all zero. */
export function newTraceId(): string {
  const id = randomBytes(16).toString('hex');
  return isZero(id) ? newTraceId() : id;
}

/** The trace id of a valid `traceparent` header, or a new one. */
export function traceIdFrom(traceparent?: string): string {
  const [, version, traceId = '', parentId = '', more] = TRACEPARENT.exec(traceparent?.trim() ?? '') ?? [];
  const valid =
    version !== undefined && version !== 'ff' && !(version === '00' && more) && !isZero(traceId) && !isZero(parentId);
  return valid ? traceId : newTraceId();
}

function isZero(hex: string): boolean {
  return /^0+$/.test(hex);
}
