/** An engine's calls as spans, over a real folder; its bytes must come through as without. */
import * as assert from 'uvu/assert';
import { digestOf } from '../../lib/oci/digest.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { beginRoot, type Span } from '../../lib/telemetry/span.js';
import { startTracing, type Tracing } from '../../lib/telemetry/tracing.js';
import { canSign, type Engine } from '../../storage-proxy/engines/engine.js';
import { LocalStorage } from '../../storage-proxy/engines/local.js';
import { traced } from '../../storage-proxy/engines/traced.js';
import { collect, pattern, pieces } from '../support/bytes.js';
import { type Collector, startCollector } from '../support/collector.js';
import { recordingTo } from '../support/recording.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('storage-proxy: a traced engine');
const data = pattern(700_000, 1);
const digest = digestOf(data);
let engine: Engine;
let collector: Collector;
let tracing: Tracing;

async function store(): Promise<void> {
  const { session } = await engine.begin({ digest });
  const last = await engine.append(session, pieces(data, 100_000), () => {});
  assert.is(await engine.commit(last.session, digest), data.length);
}

function root(): Span {
  const parent = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), recorded: true };
  return beginRoot({ name: 'call', kind: 'server', parent });
}

test.before(async () => {
  const local = new LocalStorage({ storage_path: await temporaryFolder('traced') });
  await local.probe();
  engine = traced(local, 'usstorage');
});

test('while nothing is recorded it is the engine as it is', async () => {
  await store();
  const { size, bytes } = await engine.read(digest, { offset: 1 });
  assert.is(size, data.length);
  assert.ok(data.subarray(1).equals(await collect(bytes)));
  assert.is(engine.driver, 'LocalStorage');
  assert.not(canSign(engine));
  const signing = Object.assign(new LocalStorage({ storage_path: '/' }), { sign: async () => 'https://here' });
  const tracedSigning = traced(signing, 'usstorage');
  assert.ok(canSign(tracedSigning));
  assert.is(canSign(tracedSigning) && (await tracedSigning.sign(digest, 1)), 'https://here');
});

test('a push is three spans, each with the location and what it is about', async () => {
  collector = await startCollector();
  const log = createLogger({ name: 'test', level: 'silent' });
  tracing = startTracing({ config: recordingTo(collector), version: '0', log });
  await root().run(store);
  for (const method of ['begin', 'append', 'commit']) {
    const span = await collector.find(method, each => each.name === `LocalStorage ${method}`);
    assert.is(span.attributes['entrepot.location'], 'usstorage');
    assert.is(span.kind, 'client');
  }
});

test('a read lasts until its last byte, or until its reader has had enough', async () => {
  const whole = await root().run(() => engine.read(digest, { offset: 0 }));
  assert.not(collector.spans.some(span => span.name === 'LocalStorage read'));
  assert.ok(data.equals(await collect(whole.bytes)));
  const read = await collector.find('read', span => span.attributes['entrepot.bytes'] === data.length);
  assert.is(read.name, 'LocalStorage read');
  assert.is(read.attributes['entrepot.cancelled'], undefined);

  const part = await root().run(() => engine.read(digest, { offset: 5 }));
  for await (const _ of part.bytes) break;
  const cut = await collector.find('the read that was cut', span => span.attributes['entrepot.offset'] === 5);
  assert.is(cut.attributes['entrepot.cancelled'], true);
  assert.not(cut.failed);
});

test('what goes wrong is told, unless a blob is only not there', async () => {
  const none = digestOf(Buffer.from('nothing'));
  const run = (work: () => Promise<unknown>) =>
    root()
      .run(work)
      .catch(() => {});
  await run(() => engine.read(none, { offset: 0 }));
  await run(() => engine.read(digest, { offset: data.length + 1 }));
  const missing = await collector.find('missing', span => span.attributes['entrepot.digest'] === none);
  assert.not(missing.failed);
  const beyond = await collector.find('beyond', span => span.attributes['entrepot.offset'] === data.length + 1);
  assert.ok(beyond.failed);
  assert.is(beyond.attributes['error.type'], 'OUT_OF_RANGE');
  await tracing.stop(2_000);
});

test.run();
