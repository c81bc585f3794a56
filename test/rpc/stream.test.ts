/**
 * The stream adapters: in each of the four directions a call that is stuck is ended, and both sides know within a
 * second. Then what must also be true of them: orderly ends stay orderly, errors keep their reasons.
 */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { fail, fromServiceError, StatusError } from '../../lib/rpc/errors.js';
import { messageWriter, readMessages } from '../../lib/rpc/stream.js';
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
import { rejects } from '../support/rejects.js';
import { deferred, make, type Pair, startPair } from '../support/rpc-stub.js';
import { suite } from '../support/suite.js';
import { finished, soon } from '../support/wait.js';

const test = suite('rpc streams');
const FRAME = Buffer.alloc(128 * 1024);

/** How the caller goes away. */
const GOODBYES: Record<string, (pair: Pair, abort: AbortController) => void> = {
  'cancels the call': (_pair, abort) => abort.abort(),
  'is cut off': pair => pair.cut(),
};

for (const [how, leave] of Object.entries(GOODBYES)) {
  test(`server reading: the caller sends nothing more, then ${how}`, async () => {
    const stuck = deferred<void>();
    const ended = deferred<StatusError | undefined>();
    const pair = await startPair({
      AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>(async requests => {
        try {
          for await (const _ of requests) stuck.resolve();
          ended.resolve(undefined);
        } catch (error) {
          ended.resolve(error as StatusError);
          throw error;
        }
      }),
    });
    const abort = new AbortController();
    const call = pair.client.appendUpload();
    const writer = messageWriter<AppendUploadRequest>(call, abort.signal);
    const answers = drain(readMessages(call, abort.signal));
    await writer.write({ data: FRAME });
    await stuck.promise;
    leave(pair, abort);
    assert.is((await finished(ended.promise))?.status, 'CANCELLED');
    assert.ok((await finished(answers)) instanceof Error);
    writer.release();
  });

  test(`server writing: the caller stops reading, then ${how}`, async () => {
    let sent = 0;
    const ended = deferred<StatusError>();
    const signalled = deferred<void>();
    const pair = await startPair({
      ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send, { signal }) => {
        signal.addEventListener('abort', () => signalled.resolve());
        try {
          for (; ; sent++) await send({ data: FRAME });
        } catch (error) {
          ended.resolve(error as StatusError);
          throw error;
        }
      }),
    });
    const abort = new AbortController();
    const messages = readMessages(pair.client.readBlob({}), abort.signal);
    assert.ok(!(await messages.next()).done);
    const stuckAt = await untilStill(() => sent);
    assert.ok(
      stuckAt < 200,
      `${stuckAt} frames of ${FRAME.length} bytes are on the way to a reader that does not read`,
    );
    leave(pair, abort);
    assert.is((await finished(ended.promise)).status, 'CANCELLED');
    await finished(signalled.promise);
    assert.ok((await finished(drain(messages))) instanceof Error);
  });
}

test('a call that is cancelled at whatever moment, before its handler begins too, leaves no handler waiting', async () => {
  let running = 0;
  let begun = 0;
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send) => {
      begun++;
      running++;
      try {
        while (true) await send({ data: FRAME });
      } finally {
        running--;
      }
    }),
  });
  await connected(pair);
  const cancelled = Array.from({ length: 100 }, async (_, round) => {
    const aborts = Array.from({ length: 10 }, () => new AbortController());
    const reads = aborts.map(({ signal }) => drain(readMessages(pair.client.readBlob({}), signal)));
    if (round % 3 > 0) await setImmediate();
    for (const abort of aborts) {
      if (round % 3 > 1) await sleep(Math.random() * 20);
      abort.abort();
    }
    await finished(Promise.all(reads));
  });
  await Promise.all(cancelled);
  await soon('no handler is left', async () => assert.is(running, 0));
  assert.ok(begun > 0);
});

test('a caller that cancels at whatever moment ends its handler', async () => {
  let begun = 0;
  const ends: string[] = [];
  const pair = await startPair({
    AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>(async requests => {
      begun++;
      try {
        for await (const _ of requests) if (Math.random() < 0.2) await sleep(Math.random() * 5);
        ends.push('done');
      } catch (error) {
        ends.push((error as StatusError).status);
      }
    }),
  });
  await connected(pair);
  const callers = Array.from({ length: 200 }, async () => {
    const abort = new AbortController();
    const writer = messageWriter<AppendUploadRequest>(pair.client.appendUpload(), abort.signal);
    const data = Buffer.alloc(Math.random() * 100_000);
    await writer.write({ data });
    setTimeout(() => abort.abort(), Math.random() * 300);
    await rejects('CANCELLED', async () => {
      while (true) await Promise.all([writer.write({ data }), sleep(Math.random() * 50)]);
    });
    writer.release();
  });
  await Promise.all(callers);
  await sleep(100);
  await soon('every handler ends', async () => assert.is(ends.length, begun));
  assert.ok(begun > 0, 'some calls reached the server');
  const done = ends.filter(end => end === 'done').length;
  console.log(`  of ${begun} cancelled calls ${done} looked done to the server`);
});

test('client writing: the server does not read, and the client gives up', async () => {
  const signalled = deferred<void>();
  const pair = await startPair({
    AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>(async (_requests, _send, { signal }) => {
      await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()));
      signalled.resolve();
      throw fail.cancelled();
    }),
  });
  const abort = new AbortController();
  const writer = messageWriter<AppendUploadRequest>(pair.client.appendUpload(), abort.signal);
  let written = 0;
  const writing = (async () => {
    for (; ; written++) await writer.write({ data: FRAME });
  })();
  writing.catch(() => {});
  const stuckAt = await untilStill(() => written);
  assert.ok(stuckAt < 200, `${stuckAt} frames are on the way to a server that does not read`);
  abort.abort();
  await finished(rejects('CANCELLED', () => writing));
  await finished(signalled.promise);
  writer.release();
});

test('client writing: the connection is cut', async () => {
  const pair = await startPair({
    AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>(async (_requests, _send, { signal }) => {
      await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()));
    }),
  });
  const writer = messageWriter<AppendUploadRequest>(pair.client.appendUpload());
  let written = 0;
  const writing = (async () => {
    for (; ; written++) await writer.write({ data: FRAME });
  })();
  writing.catch(() => {});
  await untilStill(() => written);
  pair.cut();
  await finished(rejects('UNAVAILABLE', () => writing));
  writer.release();
});

test('client reading: the server sends nothing, and the client gives up', async () => {
  const asked = deferred<void>();
  const signalled = deferred<void>();
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, _send, { signal }) => {
      asked.resolve();
      await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()));
      signalled.resolve();
    }),
  });
  const abort = new AbortController();
  const messages = readMessages(pair.client.readBlob({}), abort.signal);
  const next = messages.next();
  next.catch(() => {});
  await asked.promise;
  abort.abort();
  await finished(rejects('CANCELLED', () => next));
  await finished(signalled.promise);
});

test('client reading: nobody pulls, and the signal alone ends the call', async () => {
  const signalled = deferred<void>();
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send, { signal }) => {
      signal.addEventListener('abort', () => signalled.resolve());
      while (true) await send({ data: FRAME });
    }),
  });
  const abort = new AbortController();
  const messages = readMessages(pair.client.readBlob({}), abort.signal);
  await messages.next();
  abort.abort();
  await finished(signalled.promise);
});

test('client reading: stopping early ends the call', async () => {
  const signalled = deferred<void>();
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send, { signal }) => {
      signal.addEventListener('abort', () => signalled.resolve());
      while (true) await send({ data: FRAME });
    }),
  });
  for await (const _ of readMessages(pair.client.readBlob({}))) break;
  await finished(signalled.promise);
});

test('a consumer that is slow with the last message still sees an orderly end', async () => {
  const received: number[] = [];
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send) => {
      for (let size = 1; size <= 3; size++) await send({ size });
    }),
    AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>(async (requests, send) => {
      for await (const { data } of requests) {
        await sleep(100);
        received.push(data?.length ?? 0);
      }
      await send({ offset: received.length });
    }),
  });
  const sizes: number[] = [];
  for await (const { size } of readMessages<ReadBlobResponse__Output>(pair.client.readBlob({}))) {
    await sleep(100);
    sizes.push(size);
  }
  assert.equal(sizes, [1, 2, 3]);

  const call = pair.client.appendUpload();
  const writer = messageWriter<AppendUploadRequest>(call);
  for (const length of [1, 2, 3]) await writer.write({ data: Buffer.alloc(length) });
  writer.end();
  const offsets: number[] = [];
  for await (const { offset } of readMessages<AppendUploadResponse__Output>(call)) {
    offsets.push(offset);
    await sleep(100);
  }
  assert.equal(received, [1, 2, 3]);
  assert.equal(offsets, [3]);
});

test('messages before a failure arrive, and then the failure', async () => {
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send) => {
      for (let size = 1; size <= 3; size++) await send({ size });
      throw fail.corrupt('sha256:…', 'it ends early');
    }),
  });
  const sizes: number[] = [];
  await rejects('CORRUPT', async () => {
    for await (const { size } of readMessages<ReadBlobResponse__Output>(pair.client.readBlob({}))) {
      await sleep(50);
      sizes.push(size);
    }
  });
  assert.equal(sizes, [1, 2, 3]);
});

test('a failed call tells its status and reason, in every kind of call', async () => {
  const errors = Object.entries(fail).map(([name, create]) => ({
    name,
    error: (create as (...texts: string[]) => StatusError)('one — “quoted” %20', 'two'),
  }));
  let error: Error | undefined;
  const pair = await startPair({
    StatBlob: make.unary(() => Promise.reject(error)),
    ReadBlob: make.serverStream(() => Promise.reject(error)),
    AppendUpload: make.bidi(() => Promise.reject(error)),
  });
  const unary = () =>
    new Promise<StatusError | undefined>(resolve =>
      pair.client.statBlob({}, failure => resolve(failure ? fromServiceError(failure) : undefined)),
    );
  const calls = [
    unary,
    () => drain(readMessages(pair.client.readBlob({}))),
    () => drain(readMessages(pair.client.appendUpload())),
  ];
  for (const wanted of errors) {
    error = wanted.error;
    for (const call of calls) {
      const found = (await finished(call())) as StatusError;
      assert.is(found.status, wanted.error.status, wanted.name);
      assert.is(found.reason, wanted.error.reason, wanted.name);
      assert.is(found.message, wanted.error.message, wanted.name);
    }
  }
  error = new Error('password=hunter2');
  for (const call of calls) {
    const found = (await finished(call())) as StatusError;
    assert.is(found.status, 'INTERNAL');
    assert.is(found.reason, undefined);
    assert.not.match(found.message, 'hunter2');
  }
});

test('what the transport says has no reason', async () => {
  const pair = await startPair({});
  await pair.server.stop(0);
  const error = await drain(readMessages(pair.client.readBlob({})));
  assert.ok(error instanceof StatusError);
  assert.is(error.status, 'UNAVAILABLE');
  assert.is(error.reason, undefined);
});

/** Waits for the connection: calls that are cancelled before there is one never reach the server. */
function connected({ client }: Pair): Promise<void> {
  return new Promise((resolve, reject) =>
    client.waitForReady(Date.now() + 10_000, error => (error ? reject(error) : resolve())),
  );
}

/** Reads to the end; resolves to the failure, or undefined. */
async function drain(messages: AsyncIterable<unknown>): Promise<unknown> {
  try {
    for await (const _ of messages);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Waits until a counter has grown and then stood still for a while; resolves to it. */
async function untilStill(count: () => number): Promise<number> {
  await soon('it begins', async () => assert.ok(count() > 0));
  while (true) {
    const before = count();
    await sleep(300);
    if (count() === before) return before;
  }
}

test.run();
