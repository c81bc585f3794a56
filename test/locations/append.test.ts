/** In which messages the bytes of an upload go to a node. */
import * as assert from 'uvu/assert';
import { Location } from '../../lib/locations/location.js';
import { StorageNode } from '../../lib/locations/node.js';
import type { AppendUploadRequest__Output } from '../../proto/generated/entrepot/storage/v1/AppendUploadRequest.js';
import type { AppendUploadResponse } from '../../proto/generated/entrepot/storage/v1/AppendUploadResponse.js';
import { pattern } from '../support/bytes.js';
import { quiet } from '../support/clients.js';
import { make, startPair } from '../support/rpc-stub.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('locations: appending');
const KIB = 1024;

for (const [node, maxAppendBytes, expected] of [
  ['of an older version, which says nothing', undefined, [256, 256, 256, 256, 256, 20]],
  ['that takes more', 512 * KIB, [512, 512, 256, 20]],
  ['that takes all there is', 1024 * 1024 * KIB, [1024, 256, 20]],
  ['that takes less', 128 * KIB, [...Array.from({ length: 10 }, () => 128), 20]],
] as const) {
  test(`a node ${node} gets as much in one message`, async () => {
    const sizes: number[] = [];
    const got: Buffer[] = [];
    const { address } = await startPair({
      Describe: make.unary(async () => ({
        ...{ location: 'far', locationId: 'id' },
        ...(maxAppendBytes !== undefined && { maxAppendBytes }),
      })),
      AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>(async (requests, send) => {
        for await (const { data } of requests) {
          if (!data) continue;
          sizes.push(data.length / KIB);
          got.push(data);
        }
        await send({ offset: Buffer.concat(got).length, session: Buffer.from('end') });
      }),
    });
    const storageNode = new StorageNode({
      ...{ address, location: 'far', wideStreams: undefined, log: quiet },
      identify: async () => true,
    });
    atEnd(() => storageNode.close());
    const bytes = pattern(1300 * KIB, 1);
    async function* source(): AsyncGenerator<Buffer> {
      yield bytes.subarray(0, 1280 * KIB);
      yield bytes.subarray(1280 * KIB);
    }
    const last = await new Location('far', [storageNode]).store.append(Buffer.from('begun'), source(), () => {});
    assert.is(last.offset, bytes.length);
    assert.equal(sizes, expected);
    assert.ok(Buffer.concat(got).equals(bytes));
  });
}

test.run();
