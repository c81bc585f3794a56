/** The server: its windows as a client sees them, health, reflection, and an orderly end. */
import { once } from 'node:events';
import { connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { callUnary } from '../../lib/rpc/call.js';
import { SERVER_WINDOW } from '../../lib/rpc/channel.js';
import { hasReason } from '../../lib/rpc/errors.js';
import { checkHealth, watchHealth } from '../../lib/rpc/health.js';
import { startServer } from '../../lib/rpc/server.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { ReadBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/ReadBlobRequest.js';
import type {
  ReadBlobResponse,
  ReadBlobResponse__Output,
} from '../../proto/generated/entrepot/storage/v1/ReadBlobResponse.js';
import { HEALTH_NAME, make, startPair } from '../support/rpc-stub.js';
import { suite } from '../support/suite.js';
import { finished, soon } from '../support/wait.js';

const test = suite('rpc server');

test('a client is offered the wide windows, for streams and for the connection', async () => {
  const { address } = await startPair({});
  const session = connect(`http://${address}`);
  try {
    await once(session, 'remoteSettings');
    assert.is(session.remoteSettings.initialWindowSize, SERVER_WINDOW);
    await soon('the connection’s window', async () =>
      assert.ok((session.state.remoteWindowSize ?? 0) >= SERVER_WINDOW, `${session.state.remoteWindowSize}`),
    );
  } finally {
    session.destroy();
  }
});

test('health is told by name, at once and at each change', async () => {
  const { server, client, address } = await startPair({});
  assert.not.ok(await checkHealth(address, HEALTH_NAME, 10_000), 'not serving until somebody says so');
  const stop = new AbortController();
  const seen: boolean[] = [];
  const watching = (async () => {
    for await (const serving of watchHealth(client, HEALTH_NAME, stop.signal)) seen.push(serving);
  })();
  watching.catch(() => {});
  await soon('the first answer', async () => assert.equal(seen, [false]));
  server.setHealth(HEALTH_NAME, true);
  assert.ok(await checkHealth(address, HEALTH_NAME, 10_000));
  assert.not.ok(await checkHealth(address, 'entrepot.other', 10_000));
  await soon('the change', async () => assert.equal(seen, [false, true]));
  stop.abort();
  await finished(watching.catch(() => {}));
});

test('stopping lets a running call finish, and is not held up by those who watch its health', async () => {
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send) => {
      // Longer than the client's keepalive.
      for (let size = 1; size <= 16; size++) {
        await send({ size });
        await sleep(100);
      }
    }),
  });
  const seen: boolean[] = [];
  pair.server.setHealth(HEALTH_NAME, true);
  const watching = (async () => {
    for await (const serving of watchHealth(pair.client, HEALTH_NAME, new AbortController().signal)) seen.push(serving);
  })();
  await soon('the first answer', async () => assert.equal(seen, [true]));
  const messages = readMessages<ReadBlobResponse__Output>(pair.client.readBlob({}));
  assert.is((await messages.next()).value?.size, 1);
  const began = Date.now();
  const stopped = pair.server.stop(20_000, 200);
  pair.server.setHealth(HEALTH_NAME, true);
  const rest: unknown[] = [];
  for await (const { size } of messages) rest.push(size);
  assert.is(rest.length, 15);
  await finished(stopped, 15_000);
  await finished(watching);
  assert.equal(seen, [true, false], 'those who watch are told first');
  assert.ok(Date.now() - began < 15_000, 'the grace is 20 s');
});

test('stopping takes calls for a while, and as long as earlier ones run; then they go elsewhere', async () => {
  let finishFirst = () => {};
  const first = new Promise<void>(resolve => {
    finishFirst = resolve;
  });
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async ({ offset }, send) => {
      await send({ size: 1 });
      await (offset === 0 ? first : new Promise<never>(() => {}));
    }),
  });
  const begin = async (offset: number) => {
    const messages = readMessages<ReadBlobResponse__Output>(pair.client.readBlob({ offset }));
    await messages.next();
    return messages.next().catch((error: unknown) => error);
  };
  const describe = () => callUnary(pair.client.describe.bind(pair.client), {}).catch(error => error);
  const slow = begin(0);
  await sleep(50);
  const began = Date.now();
  const stopped = pair.server.stop(20_000, 100);
  assert.ok(hasReason(await describe(), 'UNSUPPORTED'), 'taken');
  await sleep(300);
  const endless = begin(1);
  assert.ok(hasReason(await describe(), 'UNSUPPORTED'), 'taken, since a call from before runs');
  finishFirst();
  assert.not.ok((await finished(slow)) instanceof Error);
  await soon('refusal', async () => assert.ok(hasReason(await describe(), 'DRAINING')), 1_000);
  await finished(stopped);
  assert.ok((await finished(endless)) instanceof Error, 'who came last is not waited for to the end');
  assert.ok(Date.now() - began < 5_000);
});

test('stopping cuts off what does not finish in time', async () => {
  const pair = await startPair({
    ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async (_request, send) => {
      await send({ size: 1 });
      await new Promise<never>(() => {});
    }),
  });
  const messages = readMessages<ReadBlobResponse__Output>(pair.client.readBlob({}));
  await messages.next();
  const next = messages.next().catch((error: unknown) => error);
  await finished(pair.server.stop(200));
  assert.ok((await finished(next)) instanceof Error);
});

test('a taken port is named', async () => {
  const { server } = await startPair({});
  try {
    await startServer(server.address, { services: [], healthNames: [], listenKey: 'ENTREPOT_WORKER_LISTEN' });
    assert.unreachable('two servers cannot have one port');
  } catch (error) {
    assert.match(
      (error as Error).message,
      `cannot listen on 127.0.0.1:${server.address.port}: something listens there already (ENTREPOT_WORKER_LISTEN `,
    );
  }
});

test.run();
