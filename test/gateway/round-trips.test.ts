/** How often the gateway asks PostgreSQL: over 100 ms, each round trip is a tenth of a second of somebody's push or pull. */
import { connect, createServer, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { atEnd, suite } from '../support/suite.js';
import { begin, closing, digestOf, type Stack, someBytes, startStack } from './stack.js';

const test = suite('gateway round trips');
let stack: Stack;
let trips: () => number;

test.before(async () => {
  const counter = await countingProxy();
  trips = counter.trips;
  stack = await startStack({ through: counter.through });
});

/** How many round trips `work` makes. */
async function during(work: () => Promise<unknown>): Promise<number> {
  // The signal for the workers is sent beside the answer, at most every 100 ms; it keeps nobody waiting.
  await new Promise(resolve => setTimeout(resolve, 250));
  const before = trips();
  await work();
  return trips() - before;
}

const indexType = 'application/vnd.oci.image.index.v1+json';

test('a push', async () => {
  const bytes = someBytes(100_000);
  const digest = digestOf(bytes);
  const { client } = stack;
  assert.is(await during(() => client.request('HEAD', `/v2/trips/blobs/${digest}`)), 1, 'HEAD');
  let location = '';
  const post = await during(async () => {
    location = await begin(client, 'trips');
  });
  assert.is(post, 1, 'POST');
  const patch = await during(async () => {
    location = (await client.request('PATCH', location, { body: bytes })).headers.location ?? '';
  });
  assert.is(patch, 2, 'PATCH');
  assert.is(
    await during(async () => assert.is((await client.request('PUT', closing(location, digest))).status, 201)),
    1,
    'PUT',
  );
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: bytes.length };
  const manifest = await during(() => client.pushManifest('trips', 'v1', { schemaVersion: 2, config, layers: [] }));
  assert.ok(manifest <= 2, `manifest: ${manifest}`);
});

test('the other ways to push a blob', async () => {
  const { client } = stack;
  const [one, two] = [someBytes(1_000), someBytes(1_000)];
  const whole = () => client.request('POST', `/v2/trips/blobs/uploads/?digest=${digestOf(one)}`, { body: one });
  assert.is(await during(whole), 1, 'POST with digest');
  const location = await begin(client, 'trips');
  assert.ok((await during(() => client.request('PUT', closing(location, digestOf(two)), { body: two }))) <= 2, 'PUT');
  const mount = () => client.request('POST', `/v2/trips2/blobs/uploads/?mount=${digestOf(one)}&from=trips`);
  assert.is(await during(mount), 1, 'mount');
});

test('a pull', async () => {
  const { client } = stack;
  const bytes = someBytes(1_000);
  const digest = await client.pushBlob('pulls', bytes);
  const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [] }));
  await client.pushManifest('pulls', 'v1', index, indexType);
  const paths = [
    `blobs/${digest}`,
    'manifests/v1',
    `manifests/${digestOf(index)}`,
    'tags/list',
    `blobs/${digestOf(someBytes(3))}`,
    'manifests/none',
  ];
  for (const path of paths) {
    assert.is(await during(() => client.request('GET', `/v2/pulls/${path}`)), 1, path);
  }
});

/** A proxy in front of PostgreSQL that counts what ends a round trip: Query and Sync messages of the client. */
async function countingProxy() {
  let count = 0;
  const sockets = new Set<Socket>();
  async function through(url: string): Promise<string> {
    const target = new URL(url);
    const server = createServer(client => {
      const upstream = connect(Number(target.port), target.hostname);
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          client.destroy();
          upstream.destroy();
          sockets.delete(socket);
        });
      }
      const messages = messageTypes();
      client.on('data', piece => {
        count += messages(piece).filter(type => type === 'Q' || type === 'S').length;
        upstream.write(piece);
      });
      upstream.on('data', piece => client.write(piece));
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    atEnd(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    return Object.assign(new URL(url), { hostname: '127.0.0.1', port: String(address.port) }).href;
  }
  return { trips: () => count, through };
}

/** Reads the types of the messages in a client's stream: the first message has none, all others begin with theirs. */
function messageTypes(): (piece: Buffer) => string[] {
  let rest = Buffer.alloc(0);
  let started = false;
  return piece => {
    rest = Buffer.concat([rest, piece]);
    const types: string[] = [];
    while (true) {
      const head = started ? 1 : 0;
      if (rest.length < head + 4) return types;
      const length = head + rest.readUInt32BE(head);
      if (rest.length < length) return types;
      if (started) types.push(rest.toString('latin1', 0, 1));
      started = true;
      rest = rest.subarray(length);
    }
  };
}

test.run();
