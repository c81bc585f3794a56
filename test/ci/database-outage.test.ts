/** Parts that are away: what can be served is, what cannot gets a clear 503, and everything works again by itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { DatabaseProxy } from '../support/database-proxy.js';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { begin, closing, codeOf, digestOf, someBytes } from '../support/pushes.js';
import { suite } from '../support/suite.js';

const test = suite('gateway outage');
let stack: GatewayStack;
const database = new DatabaseProxy();

test.before(async () => {
  stack = await startGatewayStack({ locations: ['usstorage', 'eustorage'], through: url => database.through(url) });
});

test('a location that is away: writes go elsewhere, its blobs get a 503 until it is back', async () => {
  const bytes = someBytes(300_000);
  const digest = await stack.client.pushBlob('away', bytes);
  const path = `/v2/away/blobs/${digest}`;
  stack.proxies.usstorage?.kill('SIGSTOP');
  try {
    const away = await stack.client.request('GET', path);
    assert.is(away.status, 503);
    assert.is(codeOf(away), 'UNAVAILABLE');
    assert.match(away.body.toString(), 'usstorage');
    assert.not.match(away.body.toString(), '127.0.0.1', 'addresses are for the log');
    assert.ok(Number(away.headers['retry-after']) > 0);
    assert.is((await stack.client.request('HEAD', path)).status, 200);

    const other = await stack.client.pushBlob('away', someBytes(1_000));
    const [row] = await stack.sql(
      `select l.name from imagestorage s join imagestorageplacement p on p.storage_id = s.id
         join imagestoragelocation l on l.id = p.location_id where s.content_checksum = $1`,
      [other],
    );
    assert.is(row?.name, 'eustorage');
    assert.is((await stack.client.request('GET', `/v2/away/blobs/${other}`)).status, 200);
    assert.is((await stack.client.request('GET', '/health/instance')).status, 200);
  } finally {
    stack.proxies.usstorage?.kill('SIGCONT');
  }
  for (let i = 0; i < 300; i++) {
    const back = await stack.client.request('GET', path);
    if (back.status === 200) return assert.ok(back.body.equals(bytes));
    await sleep(100);
  }
  assert.unreachable('the location did not come back');
});

test('no location at all: pushes get a 503 that names the locations, and no address', async () => {
  for (const proxy of Object.values(stack.proxies)) proxy.kill('SIGSTOP');
  try {
    const push = await stack.client.request('POST', '/v2/away/blobs/uploads/');
    assert.is(push.status, 503);
    assert.match(push.body.toString(), /usstorage.*eustorage|eustorage.*usstorage/);
    assert.not.match(push.body.toString(), '127.0.0.1');
  } finally {
    for (const proxy of Object.values(stack.proxies)) proxy.kill('SIGCONT');
  }
  for (let i = 0; i < 300; i++) {
    if ((await stack.client.request('POST', '/v2/away/blobs/uploads/')).status === 202) return;
    await sleep(100);
  }
  assert.unreachable('the locations did not come back');
});

test('the database is away: what was served just now is served on, everything else gets a 503', async () => {
  const bytes = someBytes(2_000);
  const { client } = await stack.startGateway();
  const digest = await client.pushBlob('database', bytes);
  const { digest: manifest } = await client.pushImage('database', 'v1', [bytes]);
  const blobPath = `/v2/database/blobs/${digest}`;
  for (const path of [blobPath, '/v2/database/manifests/v1', `/v2/database/manifests/${manifest}`]) {
    assert.is((await client.request('GET', path)).status, 200);
  }
  database.cut();
  try {
    for (const path of [blobPath, '/v2/database/manifests/v1', `/v2/database/manifests/${manifest}`]) {
      assert.is((await client.request('GET', path)).status, 200, path);
    }
    const push = await client.request('POST', '/v2/database/blobs/uploads/');
    assert.is(push.status, 503);
    assert.is(codeOf(push), 'UNAVAILABLE');
    assert.ok(Number(push.headers['retry-after']) > 0);
    assert.is((await client.request('GET', '/health/instance')).status, 503);
  } finally {
    await database.mend();
  }
  assert.type(await begin(client, 'database'), 'string');
});

test('the database is away: an upload whose bytes are wrong is told so, though it cannot be removed', async () => {
  const { client } = await stack.startGateway();
  const location = await begin(client, 'wrong');
  const patched = await client.request('PATCH', location, { body: someBytes(1_000) });
  database.cut();
  try {
    const closed = await client.request('PUT', closing(patched.headers.location, digestOf(someBytes(1_000))));
    assert.is(closed.status, 400, closed.body.toString());
    assert.is(codeOf(closed), 'DIGEST_INVALID');
  } finally {
    await database.mend();
  }
});

test('the database is away: what is served is what its digest says, also of a tag that moved just before', async () => {
  const { client } = await stack.startGateway();
  await client.pushImage('moved', 'v1', [someBytes(100)]);
  // Twice: the second answer of the database leaves the bytes out, since the gateway has them.
  for (let i = 0; i < 2; i++) await client.request('GET', '/v2/moved/manifests/v1');
  await client.pushImage('moved', 'v1', [someBytes(200)]);
  database.cut();
  try {
    const { body, headers, status } = await client.request('GET', '/v2/moved/manifests/v1');
    assert.is(status, 200);
    assert.is(headers['docker-content-digest'], digestOf(body));
  } finally {
    await database.mend();
  }
});

test.run();
