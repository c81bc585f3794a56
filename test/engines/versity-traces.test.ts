/** The commands that a bucket is sent, as spans below the engine's calls. */
import * as assert from 'uvu/assert';
import { digestOf } from '../../lib/oci/digest.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { beginRoot } from '../../lib/telemetry/span.js';
import { startTracing } from '../../lib/telemetry/tracing.js';
import { createEngine } from '../../storage-proxy/engines/registry.js';
import { traced } from '../../storage-proxy/engines/traced.js';
import { makeBucket, radosArguments } from '../stores/store.js';
import { startVersity, VERSITY_NEEDS } from '../stores/versity.js';
import { collect, pattern, pieces } from '../support/bytes.js';
import { startCollector } from '../support/collector.js';
import { recordingTo } from '../support/recording.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('S3: traces', { needs: VERSITY_NEEDS, timeoutMs: 60_000 });

test('a push and a read: each command to the bucket is below the call that it is sent for', async () => {
  const bucket = await makeBucket(await startVersity());
  atEnd(() => bucket.client.destroy());
  const bare = createEngine({ name: 'usstorage', driver: 'RadosGWStorage', arguments: radosArguments(bucket) });
  const engine = traced(bare, 'usstorage');
  assert.ok((await engine.probe()).locationId);
  const collector = await startCollector();
  const log = createLogger({ name: 'test', level: 'silent' });
  const tracing = startTracing({ config: recordingTo(collector), version: '0', log });
  const data = pattern(100_000, 1);
  const digest = digestOf(data);
  const root = beginRoot({ name: 'call', kind: 'server', parent: undefined });
  const caller = root.parent?.spanId;
  await root.run(async () => {
    assert.is(await engine.stat(digest), undefined);
    const { session } = await engine.begin({ digest });
    const last = await engine.append(session, pieces(data, 50_000), () => {});
    await engine.commit(last.session, digest);
    const { bytes } = await engine.read(digest, { offset: 0 });
    assert.ok(data.equals(await collect(bytes)));
    await engine.remove(digest);
  });
  root.end();
  const get = await collector.find('GetObject', span => span.name === 'S3 GetObject');
  const read = await collector.find('read', span => span.name === 'RadosGWStorage read');
  assert.is(get.parentSpanId, read.spanId);
  assert.is(read.parentSpanId, caller);
  assert.ok(Number(get.attributes['http.response.status_code']) < 300);
  assert.match(String(get.attributes['aws.s3.key']), digest.replace('sha256:', ''));
  const head = await collector.find('HeadObject', span => span.name === 'S3 HeadObject');
  assert.is(head.attributes['http.response.status_code'], 404);
  assert.not(head.failed);
  await collector.find('DeleteObject', span => span.name === 'S3 DeleteObject');
  await tracing.stop(2_000);
});

test.run();
