/**
 * Traces: whether they are recorded, which, and where they are sent.
 *
 * Said in the words that OpenTelemetry has for it: the environment's `OTEL_…` variables, and the same names inside of
 * Quay's `OTEL_CONFIG`, over which the environment wins. Without either, and without `FEATURE_OTEL_TRACING`, nothing is
 * recorded; and then nothing here is a mistake, since such variables are often given to all of a machine's processes.
 */
import { accessSync, constants } from 'node:fs';
import type { Role, TracingConfig } from './config.js';
import type { Reader } from './reader.js';
import type { Environment } from './source.js';

/** What is read, from either place. */
const VARIABLES = [
  'OTEL_SDK_DISABLED',
  'OTEL_TRACES_EXPORTER',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
  'OTEL_EXPORTER_OTLP_PROTOCOL',
  'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL',
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_EXPORTER_OTLP_TRACES_HEADERS',
  'OTEL_EXPORTER_OTLP_TIMEOUT',
  'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT',
  'OTEL_EXPORTER_OTLP_COMPRESSION',
  'OTEL_EXPORTER_OTLP_TRACES_COMPRESSION',
  'OTEL_SERVICE_NAME',
  'OTEL_RESOURCE_ATTRIBUTES',
  'OTEL_TRACES_SAMPLER',
  'OTEL_TRACES_SAMPLER_ARG',
  'OTEL_BSP_SCHEDULE_DELAY',
  'OTEL_BSP_EXPORT_TIMEOUT',
  'OTEL_BSP_MAX_QUEUE_SIZE',
  'OTEL_BSP_MAX_EXPORT_BATCH_SIZE',
] as const;
type Variable = (typeof VARIABLES)[number];

/** Files that the exporter reads by itself: only ever in the environment. */
const FILES = [
  'OTEL_EXPORTER_OTLP_CERTIFICATE',
  'OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE',
  'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE',
  'OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE',
  'OTEL_EXPORTER_OTLP_CLIENT_KEY',
  'OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY',
];

/** Quay's own fields of OTEL_CONFIG. The last says something about gRPC only. */
const QUAY_FIELDS = ['service_name', 'dt_api_url', 'dt_api_token', 'OTEL_EXPORTER_OTLP_INSECURE'];

const DEFAULT_ENDPOINT = 'http://localhost:4318';
const TRACES_PATH = 'v1/traces';

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

/** Reads it; undefined: nothing is recorded. The `entrepot` command never records anything. */
export function readTracing(reader: Reader, role: Role, env: Environment): TracingConfig | undefined {
  const feature = reader.take('FEATURE_OTEL_TRACING');
  const given = new Given(reader, env);
  const endpointGiven =
    given.text('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT') ?? given.quay('dt_api_url');
  if (role === 'cli' || !(feature ?? endpointGiven !== undefined)) return undefined;
  if (given.text('OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return undefined;
  if (given.oneOf(['OTEL_TRACES_EXPORTER'], ['otlp', 'none'], 'otlp') === 'none') return undefined;
  given.checkFields();
  checkFiles(reader, env);
  checkProtocol(given);
  const maxQueue = given.number('OTEL_BSP_MAX_QUEUE_SIZE', 2_048, 1, 1_000_000);
  return {
    endpoint: readEndpoint(given),
    headers: readHeaders(given),
    timeoutMs: given.number(['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', 'OTEL_EXPORTER_OTLP_TIMEOUT'], 10_000, 1, 600_000),
    gzip:
      given.oneOf(
        ['OTEL_EXPORTER_OTLP_TRACES_COMPRESSION', 'OTEL_EXPORTER_OTLP_COMPRESSION'],
        ['gzip', 'none'],
        'none',
      ) === 'gzip',
    resource: readResource(given, role),
    sampler: readSampler(given),
    queue: {
      maxSpans: maxQueue,
      maxBatch: Math.min(maxQueue, given.number('OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512, 1, 1_000_000)),
      delayMs: given.number('OTEL_BSP_SCHEDULE_DELAY', 5_000, 1, 3_600_000),
      exportTimeoutMs: given.number('OTEL_BSP_EXPORT_TIMEOUT', 30_000, 1, 3_600_000),
    },
  };
}

function checkProtocol(given: Given): void {
  const names = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'] as const;
  const protocol = given.text(...names);
  // Quay says http for short.
  if (protocol === undefined || protocol === 'http/protobuf' || protocol === 'http') return;
  const advice = 'Entrepot sends http/protobuf only, which collectors usually take at port 4318: remove it';
  given.mistake(names, `${advice}, and let OTEL_EXPORTER_OTLP_ENDPOINT name that port`);
}

function readEndpoint(given: Given): string {
  const whole = given.text('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT');
  if (whole !== undefined) return checkedUrl(given, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', whole);
  const base = given.text('OTEL_EXPORTER_OTLP_ENDPOINT');
  const dynatrace = given.quay('dt_api_url');
  if (base === undefined && dynatrace !== undefined) return checkedUrl(given, 'dt_api_url', dynatrace);
  const url = checkedUrl(given, 'OTEL_EXPORTER_OTLP_ENDPOINT', base ?? DEFAULT_ENDPOINT);
  return `${url.replace(/\/$/, '')}/${TRACES_PATH}`;
}

function checkedUrl(given: Given, name: Variable | 'dt_api_url', value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    given.mistake([name], `must be a URL, for example ${DEFAULT_ENDPOINT}`);
  }
  return value;
}

function readHeaders(given: Given): Record<string, string> {
  const token = given.quay('dt_api_token');
  return {
    ...(token === undefined ? {} : { Authorization: `Api-Token ${token}` }),
    ...given.pairs('OTEL_EXPORTER_OTLP_HEADERS'),
    ...given.pairs('OTEL_EXPORTER_OTLP_TRACES_HEADERS'),
  };
}

function readResource(given: Given, role: Role): Record<string, string> {
  const attributes = given.pairs('OTEL_RESOURCE_ATTRIBUTES');
  const name = given.text('OTEL_SERVICE_NAME') ?? given.quay('service_name') ?? attributes['service.name'];
  return { 'service.namespace': 'entrepot', ...attributes, 'service.name': name ?? `entrepot-${role}` };
}

function readSampler(given: Given): TracingConfig['sampler'] {
  const argument = given.text('OTEL_TRACES_SAMPLER_ARG');
  // Who gives a ratio means it; so does Quay.
  const otherwise = argument === undefined ? 'parentbased_always_on' : 'parentbased_traceidratio';
  const kind = given.oneOf(['OTEL_TRACES_SAMPLER'], SAMPLERS, otherwise);
  if (argument === undefined || !kind.endsWith('traceidratio')) return { kind, ratio: 1 };
  const ratio = Number(argument);
  if (!(ratio >= 0 && ratio <= 1))
    given.mistake(['OTEL_TRACES_SAMPLER_ARG'], 'must be a number from 0 to 1, for example 0.01 for one of a hundred');
  return { kind, ratio };
}

function checkFiles(reader: Reader, env: Environment): void {
  for (const name of FILES) {
    const path = env[name];
    if (!path) continue;
    try {
      accessSync(path, constants.R_OK);
    } catch {
      reader.problems.add(name, 'names a file that this process cannot read (given in the environment)');
    }
  }
}

/** The values as they were given, the environment's first. */
class Given {
  readonly #reader: Reader;
  readonly #env: Environment;
  readonly #file: Readonly<Record<string, unknown>>;

  constructor(reader: Reader, env: Environment) {
    this.#reader = reader;
    this.#env = env;
    this.#file = reader.take('OTEL_CONFIG');
  }

  /** The first of them that has a value: each in the environment before any in the file. */
  text(...names: readonly Variable[]): string | undefined {
    const [found] = names.flatMap(name => this.#env[name]?.trim() || []);
    return found ?? names.flatMap(name => this.#inFile(name) ?? [])[0];
  }

  /** A field of Quay's own. */
  quay(name: string): string | undefined {
    return this.#inFile(name);
  }

  number(names: Variable | readonly Variable[], absent: number, least: number, most: number): number {
    const all = typeof names === 'string' ? [names] : names;
    const value = this.text(...all);
    if (value === undefined) return absent;
    if (/^[0-9]+$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value);
    this.mistake(all, `must be a whole number from ${least} to ${most}`);
    return absent;
  }

  oneOf<const W extends string>(names: readonly Variable[], words: readonly W[], absent: W): W {
    const value = this.text(...names)?.toLowerCase();
    if (value === undefined) return absent;
    const word = words.find(each => each === value);
    if (word === undefined) this.mistake(names, `must be one of ${words.join(', ')}`);
    return word ?? absent;
  }

  /** `key=value,key=value`, the values percent-encoded; in the file also a mapping. */
  pairs(name: Variable): Record<string, string> {
    const inFile = this.#file[name];
    const text = this.#env[name]?.trim() || (typeof inFile === 'string' ? inFile : '');
    if (text === '' && typeof inFile === 'object' && inFile !== null)
      return Object.fromEntries(Object.entries(inFile).map(([key, value]) => [key, String(value)]));
    const pairs: Record<string, string> = {};
    for (const part of text.split(',').filter(each => each.trim() !== '')) {
      const [, key, value] = /^\s*([^\s=]+)\s*=(.*)$/.exec(part) ?? [];
      const decoded = value === undefined ? undefined : decode(value.trim());
      if (key === undefined || decoded === undefined) {
        this.mistake([name], 'must be of the form key=value,key=value, with special characters percent-encoded');
        return {};
      }
      pairs[key] = decoded;
    }
    return pairs;
  }

  /** Reports what OTEL_CONFIG has that means nothing. */
  checkFields(): void {
    const known: readonly string[] = [...VARIABLES, ...QUAY_FIELDS];
    for (const field of Object.keys(this.#file)) {
      if (!known.includes(field))
        this.#reader.mistake('OTEL_CONFIG', 'unknown field; see docs/tracing.md for those that there are', [field]);
    }
  }

  /** Notes a mistake where the value came from. Never repeats it: it may be a token. */
  mistake(names: readonly string[], message: string): void {
    const inEnvironment = names.find(name => this.#env[name]?.trim());
    if (inEnvironment) this.#reader.problems.add(inEnvironment, `${message} (given in the environment)`);
    else this.#reader.mistake('OTEL_CONFIG', message, [names.find(name => this.#inFile(name)) ?? names[0] ?? '']);
  }

  #inFile(name: string): string | undefined {
    const value = this.#file[name];
    if (typeof value === 'object' && value !== null) return undefined;
    return value === undefined || value === null || value === '' ? undefined : String(value);
  }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
