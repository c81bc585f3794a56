/** Many streams over one connection: none waits until those before it have filled their windows. */
import * as assert from 'uvu/assert';
import { callMetadata } from '../../lib/rpc/call.js';
import { FRAME_BYTES, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { ReadBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/ReadBlobRequest.js';
import type { ReadBlobResponse } from '../../proto/generated/entrepot/storage/v1/ReadBlobResponse.js';
import { deferred, make, startPair } from '../support/rpc-stub.js';
import { suite } from '../support/suite.js';
import { finished } from '../support/wait.js';

const test = suite('rpc: turns');
const STREAMS = 40;

// Node.js 20 lets them take turns in any case.
test('each call asks for its turn', () => {
  assert.equal(callMetadata({}).get('priority'), ['u=3, i']);
});

test('the streams of a connection take turns', async () => {
  const data = Buffer.alloc(FRAME_BYTES);
  const sent: number[] = [];
  const allBegun = deferred<void>();
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send) => {
      const mine = sent.push(0) - 1;
      if (sent.length === STREAMS) allBegun.resolve();
      await allBegun.promise;
      for (let messages = 1; ; messages++) {
        await send({ data });
        sent[mine] = messages;
      }
    }),
  });
  const readers = Array.from({ length: STREAMS }, () => readMessages(pair.client.readBlob({}, callMetadata({}))));
  await finished(Promise.all(readers.map(reader => reader.next())));
  const bytes = sent.reduce((sum, messages) => sum + messages * FRAME_BYTES, 0);
  for (const reader of readers) await reader.return();
  // Were one served after the other, all but the last few would have sent more than a window takes.
  assert.ok(bytes < (STREAMS * NEAR_WINDOW) / 2, `${sent.join(' ')} messages were sent when all had their first one`);
});

test.run();
