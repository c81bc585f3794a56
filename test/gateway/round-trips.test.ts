/** How often the gateway asks PostgreSQL: over 100 ms, each round trip is a tenth of a second of somebody's push or pull. */
import * as assert from 'uvu/assert';
import { DatabaseProxy } from '../support/database-proxy.js';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { begin, closing, digestOf, someBytes } from '../support/pushes.js';
import { suite } from '../support/suite.js';

const test = suite('gateway round trips');
let stack: GatewayStack;
const database = new DatabaseProxy();

test.before(async () => {
  stack = await startGatewayStack({ through: url => database.through(url) });
});

const during = (work: () => Promise<unknown>) => database.tripsOf(work);

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
  // It remembers for some seconds where the repository's bytes may go; otherwise it has to ask first.
  await begin(client, 'trips');
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

test.run();
