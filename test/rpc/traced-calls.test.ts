/** A call that is recorded: one span on each side, which ends as the call does; and a call of every kind works as before. */
import * as assert from 'uvu/assert';
import { callMetadata, callUnary } from '../../lib/rpc/call.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { fail } from '../../lib/rpc/errors.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { messageWriter, readMessages } from '../../lib/rpc/stream.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { beginRoot, type Span } from '../../lib/telemetry/span.js';
import { startTracing, type Tracing } from '../../lib/telemetry/tracing.js';
import type {
  AppendUploadRequest,
  AppendUploadRequest__Output,
} from '../../proto/generated/entrepot/storage/v1/AppendUploadRequest.js';
import type {
  AppendUploadResponse,
  AppendUploadResponse__Output,
} from '../../proto/generated/entrepot/storage/v1/AppendUploadResponse.js';
import type { ReadBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/ReadBlobRequest.js';
import type {
  ReadBlobResponse,
  ReadBlobResponse__Output,
} from '../../proto/generated/entrepot/storage/v1/ReadBlobResponse.js';
import type { StatBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/StatBlobRequest.js';
import type { StatBlobResponse } from '../../proto/generated/entrepot/storage/v1/StatBlobResponse.js';
import { type Collector, type ReceivedSpan, startCollector } from '../support/collector.js';
import { recordingTo } from '../support/recording.js';
import { make, startPair } from '../support/rpc-stub.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('rpc: traced calls');
const FRAME = Buffer.alloc(128 * 1024);
const SERVICE = 'entrepot.storage.v1.Storage';
let collector: Collector;
let tracing: Tracing;
let client: InstanceType<typeof StorageStub>;
let seen: (string | undefined)[] = [];

test.before(async () => {
  collector = await startCollector();
  const log = createLogger({ name: 'test', level: 'silent' });
  tracing = startTracing({ config: recordingTo(collector), version: '0', log });
  const { address } = await startPair({
    StatBlob: make.unary<StatBlobRequest__Output, StatBlobResponse>(async ({ digest }, { traceId }) => {
      seen.push(traceId);
      if (digest === 'none') throw fail.blobUnknown(digest);
      if (digest === 'away') throw fail.storeUnreachable('the disk is gone');
      return { size: 7 };
    }),
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async ({ limit }, send) => {
      for (let sent = 0; sent < Number(limit) || !limit; sent++) await send({ data: FRAME });
    }),
    AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>(async (requests, send) => {
      let offset = 0;
      for await (const { data } of requests) offset += data?.length ?? 0;
      await send({ offset });
    }),
  });
  const stub = Security.local.renewed(StorageStub, address, 'storage-proxy', channelOptions(NEAR_WINDOW));
  client = stub.client;
  atEnd(async () => {
    stub.close();
    await tracing.stop(2_000);
  });
});
test.before.each(() => {
  seen = [];
});

/** A recorded span, as that of a request. */
function root(): Span {
  return beginRoot({ name: 'request', kind: 'server', parent: undefined });
}

/** Both sides' spans of the only call of a trace. */
async function sides(span: Span, method: string): Promise<{ asked: ReceivedSpan; served: ReceivedSpan }> {
  const find = (kind: string) =>
    collector.find(
      `the ${kind}'s span of ${method}`,
      each => each.traceId === span.traceId && each.name === `${SERVICE}/${method}` && each.kind === kind,
    );
  const [asked, served] = [await find('client'), await find('server')];
  assert.is(served.parentSpanId, asked.spanId);
  assert.is(served.attributes['rpc.method'], method);
  return { asked, served };
}

test('a unary call', async () => {
  const span = root();
  const context = { traceId: span.traceId };
  const answer = await span.run(() => callUnary(client.statBlob.bind(client), { digest: 'x' }, context));
  assert.is(answer.size, 7);
  const { asked, served } = await sides(span, 'StatBlob');
  assert.is(asked.parentSpanId, span.parent?.spanId);
  assert.is(asked.attributes['rpc.grpc.status_code'], 0);
  assert.is(served.attributes['rpc.grpc.status_code'], 0);
  assert.equal(seen, [span.traceId]);
});

test('how it failed is told on both sides, unless something was only not there', async () => {
  for (const [digest, code, failed] of [
    ['away', 14, true],
    ['none', 5, false],
  ] as const) {
    const span = root();
    await span.run(() => callUnary(client.statBlob.bind(client), { digest })).catch(() => {});
    const { asked, served } = await sides(span, 'StatBlob');
    for (const side of [asked, served]) {
      assert.is(side.attributes['rpc.grpc.status_code'], code);
      assert.is(side.failed, failed, digest);
    }
    if (failed) assert.is(served.message, 'the disk is gone');
  }
});

test('a stream of answers lasts until its last one', async () => {
  const span = root();
  const call = span.run(() => client.readBlob({ limit: 40 }));
  let bytes = 0;
  for await (const { data } of readMessages<ReadBlobResponse__Output>(call)) bytes += data.length;
  assert.is(bytes, 40 * FRAME.length);
  const { asked, served } = await sides(span, 'ReadBlob');
  assert.not(asked.failed || served.failed);
});

test('a stream that its reader has enough of is cancelled, on both sides, and no failure', async () => {
  const span = root();
  const call = span.run(() => client.readBlob({}));
  for await (const _ of readMessages<ReadBlobResponse__Output>(call)) break;
  const { asked, served } = await sides(span, 'ReadBlob');
  for (const side of [asked, served]) {
    assert.is(side.attributes['entrepot.cancelled'], true);
    assert.not(side.failed);
  }
});

test('a stream in each direction', async () => {
  const span = root();
  const call = span.run(() => client.appendUpload());
  const writer = messageWriter<AppendUploadRequest>(call);
  for (let sent = 0; sent < 40; sent++) await writer.write({ data: FRAME });
  writer.end();
  const offsets: number[] = [];
  for await (const { offset } of readMessages<AppendUploadResponse__Output>(call)) offsets.push(Number(offset));
  writer.release();
  assert.equal(offsets, [40 * FRAME.length]);
  await sides(span, 'AppendUpload');
});

test('what is not recorded has no span, and its trace id all the same', async () => {
  const traceId = 'd'.repeat(32);
  await callUnary(client.statBlob.bind(client), { digest: 'x' }, { traceId });
  assert.equal(seen, [traceId]);
  assert.match(String(callMetadata({ traceId }).get('traceparent')[0]), /-00$/);
  const later = root();
  await later.run(() => callUnary(client.statBlob.bind(client), { digest: 'x' }));
  await sides(later, 'StatBlob');
  assert.not(collector.spans.some(span => span.traceId === traceId));
});

test.run();
