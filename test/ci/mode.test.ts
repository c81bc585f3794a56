/** A registry that is read-only, or takes no pushes: what is refused, with which words, and what goes on. */
import * as assert from 'uvu/assert';
import { Database } from '../../lib/metadata/database.js';
import { Modes } from '../../lib/metadata/mode.js';
import { quiet } from '../support/clients.js';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { writeLayout } from '../support/images.js';
import type { OciClient } from '../support/oci-client.js';
import { begin, closing, digestOf, someBytes, waysToPush } from '../support/pushes.js';
import { trySkopeoPush } from '../support/skopeo.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';

const test = suite('ci: what the registry takes', { timeoutMs: 60_000 });
const bytes = someBytes(1_000);
const digest = digestOf(bytes);
let stack: GatewayStack;
let modes: Modes;

test.before(async () => {
  stack = await startGatewayStack();
  const db = new Database({ url: stack.databaseUrl, listenUrl: stack.databaseUrl, poolSize: 1 }, quiet);
  atEnd(() => db.close());
  modes = new Modes(db);
});

const manifest = (blob: string) => ({
  body: JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/x.y', digest: blob, size: bytes.length },
    layers: [],
  }),
  headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
});

async function pushed(client: OciClient): Promise<void> {
  await waysToPush['POST, PUT']?.(client, 'team/app', bytes, digest);
  for (const tag of ['v1', 'v2', 'v3'])
    assert.is((await client.request('PUT', `/v2/team/app/manifests/${tag}`, manifest(digest))).status, 201);
}

/** What each request that changes something is answered, beginning with the upload that was open before. */
async function answers(client: OciClient, open: string) {
  const requests: [name: string, method: string, path: string, options?: { body: Buffer | string }][] = [
    ['PATCH', 'PATCH', open, { body: bytes }],
    ['PUT', 'PUT', closing(open, digest), { body: bytes }],
    ['POST', 'POST', '/v2/team/app/blobs/uploads/'],
    ['mount', 'POST', `/v2/team/new/blobs/uploads/?mount=${digest}&from=team/app`],
    ['whole', 'POST', `/v2/team/app/blobs/uploads/?digest=${digest}`, { body: bytes }],
    ['manifest', 'PUT', '/v2/team/app/manifests/v4', manifest(digest)],
    ['untag', 'DELETE', '/v2/team/app/manifests/v1'],
    ['unlink', 'DELETE', `/v2/team/other/blobs/${digest}`],
    ['cancel', 'DELETE', open],
  ];
  const found = new Map<string, { status: number; error: { code: string; message: string; detail: unknown } }>();
  for (const [name, method, path, options] of requests) {
    const { status, body } = await client.request(method, path, options);
    found.set(name, { status, error: status >= 400 ? JSON.parse(body.toString()).errors[0] : undefined });
  }
  return found;
}

async function pullsWork(client: OciClient): Promise<void> {
  assert.is((await client.request('GET', '/v2/')).status, 200);
  assert.is((await client.request('GET', '/v2/team/app/manifests/v2')).status, 200);
  const { status, body } = await client.request('GET', `/v2/team/app/blobs/${digest}`);
  assert.equal([status, body], [200, bytes]);
}

const isRefused = async () => (await stack.client.request('POST', '/v2/team/app/blobs/uploads/')).status === 405;

test('set at run time: read-only refuses all changes, pushes disabled lets deletes pass; in force within 5 seconds', async () => {
  const { client } = stack;
  await pushed(client);
  const open = await begin(client, 'team/app');
  await modes.set({ readOnly: true, pushesDisabled: false, reason: 'we move house' });
  assert.ok(await until(isRefused, 20_000));
  for (const [name, { status, error }] of await answers(client, open)) {
    assert.equal([status, error.code, error.detail], [405, 'DENIED', { is_readonly: true }], name);
    assert.is(error.message, 'the registry is read-only now: we move house');
  }
  assert.is((await client.request('GET', open)).status, 204, 'the open upload is still there');
  await pullsWork(client);

  await modes.set({ readOnly: false, pushesDisabled: true, reason: '' });
  const isOpenForDeletes = async () => (await client.request('DELETE', '/v2/team/app/manifests/v3')).status === 202;
  assert.ok(await until(isOpenForDeletes, 20_000));
  const found = await answers(client, open);
  assert.equal(
    ['untag', 'unlink', 'cancel'].map(name => found.get(name)?.status),
    [202, 404, 204],
  );
  for (const name of ['PATCH', 'PUT', 'POST', 'mount', 'whole', 'manifest']) {
    const { status, error } = found.get(name) ?? {};
    assert.equal([status, error?.code, error?.detail], [405, 'DENIED', { pushes_disabled: true }], name);
    assert.is(error?.message, 'the registry takes no pushes now');
  }
  await pullsWork(client);

  await modes.set({ readOnly: false, pushesDisabled: false, reason: '' });
  assert.ok(await until(async () => !(await isRefused()), 20_000));
});

test(
  'said by the configuration: from the first request on; a client shows its user why',
  async () => {
    await pushed(stack.client);
    const readOnly = await stack.startGateway({ REGISTRY_STATE: 'readonly' });
    const { headers, status } = await readOnly.client.request('POST', '/v2/team/app/blobs/uploads/');
    assert.equal([status, headers.allow], [405, 'GET, HEAD']);
    await pullsWork(readOnly.client);
    const closed = await stack.startGateway({ DISABLE_PUSHES: true });
    assert.is((await closed.client.request('POST', '/v2/team/app/blobs/uploads/')).headers.allow, 'GET, HEAD, DELETE');
    const layout = await temporaryFolder('image');
    await writeLayout(layout, { layers: [1_000], seed: 'mode' });
    const { code, stderr } = await trySkopeoPush(layout, `127.0.0.1:${closed.port}/team/app:v9`);
    assert.ok(code !== 0 && stderr.includes('the registry takes no pushes now: DISABLE_PUSHES is true'), stderr);
    assert.is((await closed.client.request('DELETE', '/v2/team/app/manifests/v2')).status, 202);
  },
  { needs: ['skopeo'] },
);

test.run();
