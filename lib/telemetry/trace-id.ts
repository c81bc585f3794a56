/** Trace ids: one per request, handed on to everything that the request causes (W3C Trace Context). */
import { randomBytes } from 'node:crypto';

// version "-" trace-id "-" parent-id "-" flags, and in versions after 00 possibly more
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

const RECORDED = 1;

/** Where in a trace something belongs: what `traceparent` says. */
export interface TraceParent {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** The span that causes it: 16 hexadecimal digits, not all zero. */
  readonly spanId: string;
  /** Whether the sender records the trace. */
  readonly recorded: boolean;
}

/** A new trace id: 32 hexadecimal digits, not all zero. */
export function newTraceId(): string {
  const id = randomBytes(16).toString('hex');
  return isZero(id) ? newTraceId() : id;
}

/** What a valid `traceparent` says; undefined if it is none. */
export function parseTraceParent(traceparent?: string): TraceParent | undefined {
  const parts = TRACEPARENT.exec(traceparent?.trim() ?? '');
  const [, version, traceId = '', spanId = '', flags = '', more] = parts ?? [];
  const valid =
    version !== undefined && version !== 'ff' && !(version === '00' && more) && !isZero(traceId) && !isZero(spanId);
  return valid ? { traceId, spanId, recorded: (Number.parseInt(flags, 16) & RECORDED) === RECORDED } : undefined;
}

/** The same as a text. */
export function formatTraceParent({ traceId, spanId, recorded }: TraceParent): string {
  return `00-${traceId}-${spanId}-0${recorded ? RECORDED : 0}`;
}

/** The trace id of a valid `traceparent` header, or a new one. */
export function traceIdFrom(traceparent?: string): string {
  return parseTraceParent(traceparent)?.traceId ?? newTraceId();
}

/** For a trace that is not recorded: it has an id, for the logs, and no spans. */
export function unrecorded(traceId: string): TraceParent {
  return { traceId, spanId: traceId.slice(16), recorded: false };
}

function isZero(hex: string): boolean {
  return /^0+$/.test(hex);
}
