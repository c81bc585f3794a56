/** Who may do what where there are no accounts. */
import type { IncomingMessage } from 'node:http';
import * as assert from 'uvu/assert';
import { isOfThisMachine } from '../../gateway/auth/caller.js';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { type OciClient, type RequestOptions, sha256 } from '../support/oci-client.js';
import { codeOf } from '../support/pushes.js';
import { suite } from '../support/suite.js';

const test = suite('gateway access');
let stack: GatewayStack;
const blob = Buffer.from('a blob');
const digest = sha256(blob);
const index = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}';

test.before(async () => {
  stack = await startGatewayStack();
});

/** What a caller can do: its statuses for a pull, a push and a delete of each kind. */
async function rights(client: OciClient, headers: Record<string, string> = {}) {
  await stack.client.pushBlob('access', blob);
  await stack.client.pushManifest('access', 'v1', Buffer.from(index), 'application/vnd.oci.image.index.v1+json');
  const status = async (method: string, path: string, options: RequestOptions = {}) => {
    const answer = await client.request(method, path, { ...options, headers: { ...options.headers, ...headers } });
    if (answer.status === 401) {
      assert.match(String(answer.headers['www-authenticate']), /^Basic realm="[^"]+"$/);
      if (method !== 'HEAD') assert.is(codeOf(answer), 'UNAUTHORIZED');
    }
    return answer.status;
  };
  const manifest = { body: index, headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' } };
  return {
    base: await status('GET', '/v2/'),
    pull: [
      await status('GET', `/v2/access/blobs/${digest}`),
      await status('HEAD', `/v2/access/blobs/${digest}`),
      await status('GET', '/v2/access/manifests/v1'),
      await status('HEAD', '/v2/access/manifests/v1'),
      await status('GET', '/v2/access/tags/list'),
      await status('GET', `/v2/access/referrers/${digest}`),
      await status('GET', '/v2/_catalog'),
    ],
    push: [
      await status('POST', `/v2/access/blobs/uploads/?digest=${digest}`, { body: blob }),
      await status('POST', `/v2/access2/blobs/uploads/?mount=${digest}&from=access`),
      await status('PUT', '/v2/access/manifests/v1', manifest),
    ],
    delete: [await status('DELETE', `/v2/access/blobs/${digest}`), await status('DELETE', '/v2/access/manifests/v1')],
  };
}

const pulls = [200, 200, 200, 200, 200, 200, 200];
const all = { base: 200, pull: pulls, push: [201, 201, 201], delete: [202, 202] };
const nothing = { base: 401, pull: [401, 401, 401, 401, 401, 401, 401], push: [401, 401, 401], delete: [401, 401] };

test('opened for pushes', async () => {
  assert.equal(await rights(stack.client), all);
  assert.equal(await rights(stack.client, { 'x-forwarded-for': '203.0.113.9' }), all);
});

test('opened for pulls', async () => {
  const { client } = await stack.startGateway({ ENTREPOT_ANONYMOUS_ACCESS: 'pull' });
  assert.equal(await rights(client), { ...nothing, base: 200, pull: pulls });
});

test('opened for nobody', async () => {
  const { client, process } = await stack.startGateway({ ENTREPOT_ANONYMOUS_ACCESS: 'none' });
  assert.equal(await rights(client), nothing);
  const uploads = '/v2/access/blobs/uploads/0b0f4b6c-9d0f-4d52-8f3a-6c3f1e1c2d3e';
  for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
    assert.is((await client.request(method, uploads)).status, 401, method);
  }
  await process.stop();
});

test('not opened by name: this machine only, and not through a proxy', async () => {
  const { client } = await stack.startGateway({ ENTREPOT_ANONYMOUS_ACCESS: null });
  assert.equal(await rights(client), all);
  for (const header of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via']) {
    assert.equal(await rights(client, { [header]: '127.0.0.1' }), nothing, header);
  }
  // A web page in this machine's browser, and one whose owner had its name resolved to a loopback address.
  assert.equal(await rights(client, { origin: 'https://example.com' }), nothing);
  assert.equal(await rights(client, { host: 'example.com:8080' }), nothing);
});

test('what counts as this machine', () => {
  const from = (remoteAddress: string | undefined) =>
    isOfThisMachine({ headers: { host: 'localhost' }, socket: { remoteAddress } } as unknown as IncomingMessage);
  for (const address of ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1']) assert.ok(from(address), address);
  const others = ['10.0.0.1', '128.0.0.1', '::', '::2', '::ffff:10.0.0.1', 'fe80::1', '2001:db8::1', undefined];
  for (const address of others) assert.not(from(address), address);

  const named = (host: string | undefined) =>
    isOfThisMachine({ headers: { host }, socket: { remoteAddress: '127.0.0.1' } } as unknown as IncomingMessage);
  for (const host of ['localhost', 'localhost:8080', '127.0.0.1:8080', '[::1]:8080', '127.9.9.9']) {
    assert.ok(named(host), host);
  }
  for (const host of ['example.com', 'localhost.example.com:80', '10.0.0.1', '[2001:db8::1]:8080', '', undefined]) {
    assert.not(named(host), host);
  }
});

test.run();
