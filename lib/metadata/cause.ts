/** What a copy that is still to be made goes back to: kept with its row, so that its trace goes on from there. */
import { activeTraceParent } from '../telemetry/span.js';
import { type TraceParent, unrecorded } from '../telemetry/trace-id.js';

/**
 * For the parameter `p_trace` of queue_replication: the active span, as in `traceparent`, if it is recorded; otherwise the
 * trace id alone.
 */
export function causeOf(traceId: string): string {
  return activeTraceParent() ?? traceId;
}

/** What the columns trace_id and trace_span say. */
export function causedBy(traceId: string | undefined, spanId: string | undefined): TraceParent | undefined {
  if (traceId === undefined) return undefined;
  return spanId === undefined ? unrecorded(traceId) : { traceId, spanId, recorded: true };
}
