/** What callers may send ahead while a disk is slow: bounded however many upload, and no byte of it is lost. */
import { once } from 'node:events';
import { connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { channelOptions, NEAR_WINDOW, SERVER_WINDOW } from '../../lib/rpc/channel.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import type { AppendUploadRequest__Output } from '../../proto/generated/entrepot/storage/v1/AppendUploadRequest.js';
import type { AppendUploadResponse } from '../../proto/generated/entrepot/storage/v1/AppendUploadResponse.js';
import { MAX_APPEND_BYTES } from '../../storage-proxy/service/uploads.js';
import { storeAt } from '../support/one-node.js';
import { startRelay } from '../support/relay.js';
import { deferred, make, startPair } from '../support/rpc-stub.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('rpc: windows', { timeoutMs: 60_000 });
const MiB = 1024 * 1024;
const UPLOADS = 64;
/** More than a window. */
const UPLOAD_BYTES = SERVER_WINDOW + 2 * MiB;

test('64 uploads whose bytes nobody takes are sent little ahead; then all of it arrives', async () => {
  const moving = deferred<void>();
  let open = 0;
  const { address, server } = await startPair({
    AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>(async (requests, send) => {
      let offset = 0;
      open++;
      for await (const { header, data } of requests) {
        if (header) await moving.promise;
        offset += data?.length ?? 0;
      }
      await send({ offset, session: Buffer.alloc(0) });
    }),
  });
  const relay = await startRelay();
  relay.target = server.address.port;
  const client = new StorageStub(
    ...Security.local.dial(`127.0.0.1:${relay.port}`, 'storage-proxy', channelOptions(NEAR_WINDOW)),
  );
  atEnd(() => client.close());
  const early = connect(`http://${address}`);
  atEnd(() => early.destroy());
  await once(early, 'remoteSettings');
  assert.is(early.remoteSettings.initialWindowSize, SERVER_WINDOW);

  const piece = Buffer.alloc(MAX_APPEND_BYTES);
  let enough = false;
  let given = 0;
  async function* bytes(): AsyncGenerator<Buffer> {
    for (let at = 0; at < UPLOAD_BYTES && !enough; at += piece.length) {
      yield piece;
      given += piece.length;
    }
  }
  const store = storeAt(client);
  const uploads = Array.from({ length: UPLOADS }, () => store.append(Buffer.from('session'), bytes(), () => {}));
  const all = Promise.all(uploads);
  all.catch(() => {});
  try {
    assert.ok(await until(() => open === UPLOADS, 20_000), `${open} are open`);
    let before = -1;
    while (relay.sent !== before) {
      before = relay.sent;
      await sleep(500);
    }
    console.log(`   ${Math.round(relay.sent / MiB)} MiB were sent ahead`);
    assert.ok(relay.sent < 320 * MiB, `${relay.sent} bytes were sent ahead`);
    assert.ok(await until(() => early.remoteSettings.initialWindowSize === MiB, 10_000), 'told to who was there');
    const late = connect(`http://${address}`);
    atEnd(() => late.destroy());
    await once(late, 'remoteSettings');
    assert.is(late.remoteSettings.initialWindowSize, MiB, 'and to who comes later');
  } finally {
    enough = true;
    moving.resolve();
  }
  const taken = (await all).reduce((sum, { offset }) => sum + offset, 0);
  assert.is(taken, given);
  assert.ok(
    await until(() => early.remoteSettings.initialWindowSize === SERVER_WINDOW, 10_000),
    'wide again, as soon as few upload',
  );
});

test.run();
