import * as assert from 'uvu/assert';
import type { Environment } from '../../lib/config/source.js';
import { load, mistakes, TWO_LOCATIONS, withFile } from '../support/config.js';
import { suite } from '../support/suite.js';

const test = suite('config: tracing');

const ON = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
const tracing = (env: Environment, more = '', role: 'gateway' | 'worker' = 'gateway') =>
  load(`${TWO_LOCATIONS}${more}`, role, env).tracing;
const wrong = (env: Environment, more = '') => mistakes(`${TWO_LOCATIONS}${more}`, 'gateway', env);

test('nothing is recorded unless somebody says where to send it, or says so', () => {
  assert.is(tracing({}), undefined);
  assert.is(tracing({}, 'FEATURE_OTEL_TRACING: false\n'), undefined);
  assert.is(tracing(ON, 'FEATURE_OTEL_TRACING: false\n'), undefined);
  assert.is(tracing({ ...ON, OTEL_SDK_DISABLED: 'true' }), undefined);
  assert.is(tracing({ ...ON, OTEL_TRACES_EXPORTER: 'none' }), undefined);
  // Variables for all of a machine's processes are no mistake where nothing is recorded.
  assert.is(tracing({ OTEL_TRACES_SAMPLER: 'xray', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }), undefined);
  assert.is(load(TWO_LOCATIONS, 'cli', ON).tracing, undefined);
});

test('what OpenTelemetry has as its defaults', () => {
  assert.equal(tracing(ON), {
    endpoint: 'http://collector:4318/v1/traces',
    headers: {},
    timeoutMs: 10_000,
    gzip: false,
    resource: { 'service.namespace': 'entrepot', 'service.name': 'entrepot-gateway' },
    sampler: { kind: 'parentbased_always_on', ratio: 1 },
    queue: { maxSpans: 2_048, maxBatch: 512, delayMs: 5_000, exportTimeoutMs: 30_000 },
  });
  assert.is(tracing({}, 'FEATURE_OTEL_TRACING: true\n')?.endpoint, 'http://localhost:4318/v1/traces');
});

test('OpenTelemetry’s variables', () => {
  const found = tracing({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector/otlp/',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20hunter2, x-tenant=1',
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x-tenant=2',
    OTEL_EXPORTER_OTLP_TIMEOUT: '3000',
    OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
    OTEL_SERVICE_NAME: 'registry',
    OTEL_RESOURCE_ATTRIBUTES: 'service.name=not-this,cloud.region=us-east-1',
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.25',
    OTEL_BSP_MAX_QUEUE_SIZE: '100',
    OTEL_BSP_SCHEDULE_DELAY: '1000',
  });
  assert.equal(found, {
    endpoint: 'https://collector/otlp/v1/traces',
    headers: { authorization: 'Bearer hunter2', 'x-tenant': '2' },
    timeoutMs: 3_000,
    gzip: true,
    resource: { 'service.namespace': 'entrepot', 'service.name': 'registry', 'cloud.region': 'us-east-1' },
    sampler: { kind: 'traceidratio', ratio: 0.25 },
    queue: { maxSpans: 100, maxBatch: 100, delayMs: 1_000, exportTimeoutMs: 30_000 },
  });
  const whole = tracing({ ...ON, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://traces:4318/here' });
  assert.is(whole?.endpoint, 'http://traces:4318/here');
});

test('Quay’s OTEL_CONFIG has the same names, and the environment wins', () => {
  const file = `
FEATURE_OTEL_TRACING: true
OTEL_CONFIG:
  service_name: quay
  OTEL_EXPORTER_OTLP_ENDPOINT: https://otlp.example.com
  OTEL_EXPORTER_OTLP_HEADERS: {Authorization: Api-Token abcdef, Tenant: 1}
  OTEL_EXPORTER_OTLP_INSECURE: false
  OTEL_EXPORTER_OTLP_PROTOCOL: http
  OTEL_TRACES_SAMPLER_ARG: 0.005
`;
  const found = tracing({}, file);
  assert.is(found?.endpoint, 'https://otlp.example.com/v1/traces');
  assert.equal(found?.headers, { Authorization: 'Api-Token abcdef', Tenant: '1' });
  assert.is(found?.resource['service.name'], 'quay');
  assert.equal(found?.sampler, { kind: 'parentbased_traceidratio', ratio: 0.005 });
  assert.is(tracing({ ...ON, OTEL_SERVICE_NAME: 'here' }, file)?.resource['service.name'], 'here');
  assert.is(tracing(ON, file)?.endpoint, 'http://collector:4318/v1/traces');

  const dynatrace = tracing(
    {},
    'FEATURE_OTEL_TRACING: true\nOTEL_CONFIG: {dt_api_url: https://dt.example.com/v1/traces, dt_api_token: abc}\n',
  );
  assert.is(dynatrace?.endpoint, 'https://dt.example.com/v1/traces');
  assert.equal(dynatrace?.headers, { Authorization: 'Api-Token abc' });
});

test('each mistake names its variable, and tells no value', () => {
  for (const [name, value, expected] of [
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318', /must be a URL/],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'ftp://hunter2', /must be a URL/],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', /http\/protobuf only.*4318/],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'hunter2', /key=value/],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a=%hunter2', /percent-encoded/],
    ['OTEL_EXPORTER_OTLP_TIMEOUT', '-1', /must be a whole number/],
    ['OTEL_EXPORTER_OTLP_COMPRESSION', 'zip', /must be one of gzip, none/],
    ['OTEL_TRACES_EXPORTER', 'zipkin', /must be one of otlp, none/],
    ['OTEL_TRACES_SAMPLER', 'xray', /must be one of always_on/],
    ['OTEL_RESOURCE_ATTRIBUTES', 'hunter2', /key=value/],
    ['OTEL_BSP_MAX_QUEUE_SIZE', '0', /must be a whole number/],
    ['OTEL_EXPORTER_OTLP_CERTIFICATE', '/nowhere/hunter2', /cannot read/],
  ] as const) {
    const [mistake = '', ...more] = wrong({ ...ON, [name]: value });
    assert.match(mistake, new RegExp(`^${name}: `), mistake);
    assert.match(mistake, expected);
    assert.match(mistake, /\(given in the environment\)$/);
    assert.not.match(mistake, /hunter2/);
    assert.equal(more, [], name);
  }
  const ratio = wrong({ ...ON, OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '2' });
  assert.match(ratio.join(), /^OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1/);
});

test('mistakes in the file name the key and the field', () => {
  const on = 'FEATURE_OTEL_TRACING: true\n';
  assert.match(wrong({}, 'FEATURE_OTEL_TRACING: maybe\n').join(), /^FEATURE_OTEL_TRACING: must be true or false/);
  assert.match(wrong({}, `${on}OTEL_CONFIG: 5\n`).join(), /^OTEL_CONFIG: must be a mapping/);
  assert.match(wrong({}, `${on}OTEL_CONFIG: {endpoint: x}\n`).join(), /^OTEL_CONFIG.endpoint: unknown field/);
  assert.match(
    wrong({}, `${on}OTEL_CONFIG: {OTEL_TRACES_SAMPLER: 5}\n`).join(),
    /^OTEL_CONFIG.OTEL_TRACES_SAMPLER: must be one of/,
  );
});

test('a file for TLS that can be read is no mistake', () => {
  withFile('a certificate', file => {
    assert.ok(tracing({ ...ON, OTEL_EXPORTER_OTLP_CERTIFICATE: file }));
  });
});

test.run();
