/** The keys that say whether traces are recorded. What stands in OTEL_CONFIG is checked in lib/config/tracing.ts. */
import { z } from 'zod';
import { flag } from '../values.js';
import { key, SERVERS } from './key.js';

const FORM = "must be a mapping, for example {OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318'}";

export const TRACING_KEYS = {
  FEATURE_OTEL_TRACING: key({
    value: flag,
    absent: undefined,
    absentMeans: 'whether `OTEL_EXPORTER_OTLP_ENDPOINT` is given',
    readBy: SERVERS,
    meaning: 'whether traces are recorded',
  }),
  OTEL_CONFIG: key({
    value: z.record(z.string(), z.unknown(), { error: FORM }).meta({
      description: "a mapping of OpenTelemetry's variables, and Quay's `service_name`, `dt_api_url`, `dt_api_token`",
    }),
    absent: {},
    absentMeans: 'none',
    readBy: SERVERS,
    meaning: 'which ones, and where they are sent',
  }),
};
