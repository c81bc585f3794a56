/**
 * Spans: the steps of a trace, made by hand where the parts of the system touch. The only place beside tracing.ts that
 * knows OpenTelemetry's API.
 *
 * A request, a call that comes in and a copy begin a span; everything below them only where one that is recorded is
 * active. While no tracing has been started there is none: what is left of all this is a look whether one is active, which
 * takes some ten nanoseconds.
 */
import {
  type Span as ApiSpan,
  type Attributes,
  type Context,
  context,
  createContextKey,
  INVALID_SPAN_CONTEXT,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { stripCredentials } from './credentials.js';
import { formatTraceParent, type TraceParent } from './trace-id.js';

export type { Attributes } from '@opentelemetry/api';

/** Whether the span stands for answering somebody else, for asking somebody else, or for neither. */
export type Kind = 'server' | 'client' | 'internal' | 'consumer';

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
  consumer: SpanKind.CONSUMER,
} as const satisfies Record<Kind, SpanKind>;

/** In a context whose parent's word on what is recorded does not count (tracing.ts). */
export const UNTRUSTED = createContextKey('entrepot: the parent is a stranger');

/** By their gRPC status, or by the name of Node's error. */
const CANCELLED: ReadonlySet<string> = new Set(['CANCELLED', 'AbortError']);
const NOT_THERE = 'NOT_FOUND';

const tracer = trace.getTracer('entrepot');

/** A step of a trace that has begun. It must be ended, once. */
export class Span {
  readonly #span: ApiSpan;
  readonly #context: Context;

  constructor(span: ApiSpan, parent: Context) {
    this.#span = span;
    this.#context = trace.setSpan(parent, span);
  }

  /** Undefined while no tracing has been started. */
  get traceId(): string | undefined {
    const spanContext = this.#span.spanContext();
    return trace.isSpanContextValid(spanContext) ? spanContext.traceId : undefined;
  }

  /** Whether anybody will ever see it. */
  get isRecorded(): boolean {
    return this.#span.isRecording();
  }

  /** What whoever goes on with this trace in another process is told; undefined while it is not recorded. */
  get parent(): TraceParent | undefined {
    return this.isRecorded ? asParent(this.#span) : undefined;
  }

  /** Runs `work` in this span: what it begins, and what that begins in turn, is below it. */
  run<T>(work: () => T): T {
    return context.with(this.#context, work);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  rename(name: string): void {
    this.#span.updateName(name);
  }

  /** Refers to another span that has to do with this one, and is not above it. */
  link(other: Span): void {
    this.#span.addLink({ context: other.#span.spanContext() });
  }

  /**
   * Says that it went wrong; `type` is of few values. It did not if nobody wanted it any more, or if what was looked for is
   * not there.
   */
  failed(type: string, message: string): void {
    if (CANCELLED.has(type)) this.#span.setAttribute('entrepot.cancelled', true);
    if (CANCELLED.has(type) || type === NOT_THERE) return;
    this.#span.setAttribute('error.type', type);
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message: stripCredentials(message) });
  }

  /** The same of something that was thrown. */
  threw(error: unknown): void {
    this.failed(typeOf(error), error instanceof Error ? error.message : String(error));
  }

  end(): void {
    this.#span.end();
  }
}

export interface SpanStart {
  readonly name: string;
  readonly kind: Kind;
  readonly attributes?: Attributes;
}

export interface RootStart extends SpanStart {
  /** What it belongs to, if anybody said so. */
  readonly parent: TraceParent | undefined;
  /** The parent's trace is taken, its word on whether to record is not. */
  readonly untrusted?: boolean;
}

let started = false;

/** To be called by tracing.ts, once spans go somewhere. */
export function spansAreRecorded(): void {
  started = true;
}

/** Whether any span in this process may be recorded. */
export function isTracing(): boolean {
  return started;
}

/** Stands for all spans while there is no tracing. */
const NONE = new Span(trace.wrapSpanContext(INVALID_SPAN_CONTEXT), ROOT_CONTEXT);

/** Begins what is the first span of its trace in this process. If another one is active, it refers to that. */
export function beginRoot({ name, kind, attributes, parent, untrusted = false }: RootStart): Span {
  if (!started) return NONE;
  const remote = parent ? trace.setSpanContext(ROOT_CONTEXT, remoteContext(parent)) : ROOT_CONTEXT;
  const above = untrusted ? remote.setValue(UNTRUSTED, true) : remote;
  const cause = trace.getActiveSpan();
  const links = cause?.isRecording() ? [{ context: cause.spanContext() }] : [];
  return new Span(tracer.startSpan(name, { kind: KINDS[kind], attributes: attributes ?? {}, links }, above), remote);
}

/** Whether a span is active that is recorded. */
export function isRecording(): boolean {
  return trace.getActiveSpan()?.isRecording() === true;
}

/** Begins a span below the active one; undefined if none is active, or it is not recorded. */
export function beginChild(name: string, kind: Kind, attributes?: Attributes): Span | undefined {
  if (!isRecording()) return undefined;
  const above = context.active();
  return new Span(tracer.startSpan(name, { kind: KINDS[kind], attributes: attributes ?? {} }, above), above);
}

/** Does work that is one span below the active one; if none is recorded, just does it. */
export async function inSpan<T>(name: string, kind: Kind, attributes: Attributes, work: () => Promise<T>): Promise<T> {
  const span = beginChild(name, kind, attributes);
  if (!span) return work();
  try {
    return await span.run(work);
  } catch (error) {
    span.threw(error);
    throw error;
  } finally {
    span.end();
  }
}

/** Says more about the active span. */
export function annotate(attributes: Attributes): void {
  trace.getActiveSpan()?.setAttributes(attributes);
}

/** What is active now, for whoever goes on with it elsewhere or later; undefined if it is not recorded. */
function activeParent(): TraceParent | undefined {
  const span = trace.getActiveSpan();
  return span?.isRecording() ? asParent(span) : undefined;
}

/** The active span, as a text; undefined if it is not recorded. */
export function activeTraceParent(): string | undefined {
  const parent = activeParent();
  return parent && formatTraceParent(parent);
}

/** For lines of the log: which span they belong to. The names are OpenTelemetry's. */
export function spanFields(): { trace_id?: string; span_id?: string } {
  const span = activeParent();
  return span ? { trace_id: span.traceId, span_id: span.spanId } : {};
}

function asParent(span: ApiSpan): TraceParent {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return { traceId, spanId, recorded: (traceFlags & TraceFlags.SAMPLED) !== 0 };
}

function remoteContext({ traceId, spanId, recorded }: TraceParent) {
  return { traceId, spanId, traceFlags: recorded ? TraceFlags.SAMPLED : TraceFlags.NONE, isRemote: true };
}

/** A word of few values: the name of a status, a code, or the error's class. */
function typeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { status, code } = error as { status?: unknown; code?: unknown };
  if (typeof status === 'string') return status;
  return typeof code === 'string' ? code : error.name;
}
