/**
 * The log: one JSON object a line on standard output, or readable lines if that is a terminal.
 *
 * Both are written synchronously and in this thread, so that the last line before a process ends, however it ends, is
 * there. No secret is ever written: known fields are redacted by name, and credentials are cut out of every URL.
 */
import { isatty } from 'node:tty';
import { type DestinationStream, destination, type Level, type Logger, pino, stdTimeFunctions } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { stripCredentials } from './credentials.js';
import { serializeError } from './error-serializer.js';
import { REDACTED, redact, SECRET_PATHS } from './redaction.js';
import { spanFields } from './span.js';

export type { Logger } from 'pino';

/** What a logger is made of. */
export interface LogOptions {
  /** The process, for example `gateway`. */
  readonly name: string;
  /** The least level that is written. */
  readonly level: Level | 'silent';
  /** Where JSON lines go instead of standard output. */
  readonly stream?: DestinationStream | undefined;
}

const STANDARD_OUTPUT = 1;

/**
 * Creates the logger of a process. Each line has `level`, `time` (ISO 8601), `pid`, `name`, `msg`; errors go under `err`;
 * `trace_id` and `span_id` are there where a span that is recorded is active.
 */
export function createLogger({ name, level, stream }: LogOptions): Logger {
  return pino(
    {
      name,
      level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      mixin: spanFields,
      formatters: { level: label => ({ level: label }), log: fields => redact(fields) },
      serializers: { err: errorOnce, error: errorOnce },
      redact: { paths: SECRET_PATHS, censor: REDACTED },
      hooks: { streamWrite: stripCredentials },
    },
    stream ?? standardOutput(),
  );
}

function standardOutput(): DestinationStream {
  const output = destination({ dest: STANDARD_OUTPUT, sync: true });
  if (!isatty(STANDARD_OUTPUT)) return output;
  const format = prettyFactory({
    colorize: true,
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname',
  });
  return { write: line => void output.write(format(line)) };
}

/** Errors of a line are serialized by `redact` already; those of a logger's bindings are not. */
function errorOnce(value: unknown): unknown {
  return value instanceof Error ? serializeError(value) : value;
}
