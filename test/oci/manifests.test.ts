/** Pushing manifests, and what answers tell beside (distribution specification, "Pushing Manifests", "Warnings"). */
import * as assert from 'uvu/assert';
import type { Context } from '../../gateway/http/context.js';
import { warn } from '../../gateway/http/warnings.js';
import { parseTag } from '../../lib/oci/name.js';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { imageManifestType } from '../support/oci-client.js';
import { closing, codeOf, digestOf, someBytes } from '../support/pushes.js';
import { suite } from '../support/suite.js';

const test = suite('OCI: manifests');
const indexType = 'application/vnd.oci.image.index.v1+json';
let stack: GatewayStack;

test.before(async () => {
  stack = await startGatewayStack({ config: { SERVER_HOSTNAME: 'registry.example.com' } });
});

const index = (more: Record<string, unknown> = {}) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [], ...more }));

function put(repository: string, reference: string, body: Buffer, type = indexType) {
  return stack.client.request('PUT', `/v2/${repository}/manifests/${reference}`, {
    body,
    headers: { 'content-type': type },
  });
}

/** Headers that may come more than once, as they came. */
function several(value: string | string[] | undefined): string[] {
  return [value ?? []].flat().flatMap(each => each.split(', '));
}

for (const algorithm of ['sha256', 'sha512']) {
  test(`Pushing Manifests with tags in the query: each is set, told, and pullable at once (${algorithm})`, async () => {
    const body = index({ annotations: { algorithm } });
    const digest = digestOf(body, algorithm);
    const tags = Array.from({ length: 12 }, (_, i) => `tag-${i}`);
    const query = [...tags, 'tag-0'].map(tag => `tag=${tag}`).join('&');
    const answer = await put('tagged', `${digest}?${query}`, body);
    assert.is(answer.status, 201, answer.body.toString());
    assert.equal(several(answer.headers['oci-tag']), tags);
    assert.is(answer.headers['docker-content-digest'], digest);
    for (const tag of tags) {
      const pulled = await stack.client.request('GET', `/v2/tagged/manifests/${tag}`);
      assert.is(pulled.headers['docker-content-digest'], digest);
      assert.ok(pulled.body.equals(body));
    }
    assert.is((await put('tagged', digest, body)).headers['oci-tag'], undefined);
    assert.equal(several((await put('tagged', 'tag-0?tag=beside', body)).headers['oci-tag']), ['beside']);
    assert.is((await put('tagged', 'twice?tag=twice', body)).status, 201);
    assert.is((await stack.client.request('HEAD', '/v2/tagged/manifests/beside')).status, 200);
  });
}

test('Pushing Manifests with tags in the query: all or nothing', async () => {
  const body = index({ annotations: { all: 'or nothing' } });
  const digest = digestOf(body);
  for (const bad of ['-a', '', 'a%00b', 'a/b', 'a'.repeat(129)]) {
    const answer = await put('refused', `${digest}?tag=good&tag=${bad}`, body);
    assert.is(answer.status, 400, bad);
    assert.is(codeOf(answer), 'MANIFEST_INVALID');
  }
  const long = (count: number) => Array.from({ length: count }, (_, i) => `tag=${`${i}`.padStart(128, 'x')}`).join('&');
  const tooMany = await put('refused', `${digest}?${long(101)}`, body);
  assert.is(tooMany.status, 414);
  assert.is(codeOf(tooMany), 'SIZE_INVALID');
  assert.equal(await stack.sql('select name from repository where name = $1', ['refused']), []);
  const most = await put('refused', `${digest}?${long(100)}`, body);
  assert.is(most.status, 201);
  assert.is(several(most.headers['oci-tag']).length, 100);
  assert.ok(several(most.headers['oci-tag']).every(tag => parseTag(tag)));
});

test('Pushing Manifests: 4 MB by default; a clear 413 above', async () => {
  const large = index({ annotations: { a: 'x'.repeat(3_900_000) } });
  const pushed = await put('large', 'v1', large);
  assert.is(pushed.status, 201, pushed.body.toString());
  assert.ok((await stack.client.pullManifest('large', 'v1')).bytes.equals(large));
  const tooLarge = await put('large', 'v2', index({ annotations: { a: 'x'.repeat(4 * 1024 * 1024) } }));
  assert.is(tooLarge.status, 413);
  assert.is(codeOf(tooLarge), 'SIZE_INVALID');
  assert.match(tooLarge.body.toString(), '4194304 bytes at most (ENTREPOT_MAXIMUM_MANIFEST_SIZE)');
});

test('Pushing Manifests: what may be incomplete, and fields that nobody knows, are stored as they are', async () => {
  const absent = { mediaType: imageManifestType, digest: digestOf(someBytes(4)), size: 4 };
  const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(Buffer.from('{}')), size: 2 };
  await stack.client.pushBlob('sparse', Buffer.from('{}'));
  const image = (more: object) =>
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: imageManifestType, config, ...more }));
  const nested = index({ annotations: { nested: 'yes' } });
  await put('sparse', 'nested', nested);
  const foreign = {
    mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    digest: absent.digest,
    size: 4,
  };
  const cases: [string, Buffer, string][] = [
    ['an index of nothing', index(), indexType],
    ['no layers', image({ layers: [] }), imageManifestType],
    ['no layers, not even a list', image({}), imageManifestType],
    [
      'a nested index',
      index({ manifests: [{ mediaType: indexType, digest: digestOf(nested), size: nested.length }] }),
      indexType,
    ],
    ['children that are absent', index({ manifests: [absent] }), indexType],
    ['a subject that is absent', image({ layers: [], subject: absent }), imageManifestType],
    ['a subject that is absent, in an index', index({ subject: absent }), indexType],
    [
      'layers that a client keeps',
      image({ layers: [{ ...foreign, urls: ['https://example.com/a'] }] }),
      imageManifestType,
    ],
    [
      'unknown fields, and data',
      image({ layers: [{ ...config, data: 'e30=', new: [1.5] }], unknown: { a: null } }),
      imageManifestType,
    ],
    ['null for an empty list', image({ layers: null, manifests: null }), imageManifestType],
    ['the same blob twice', image({ layers: [config, config] }), imageManifestType],
  ];
  for (const [what, body, type] of cases) {
    for (const reference of ['v1', digestOf(body), digestOf(body, 'sha512')]) {
      const answer = await put('sparse', reference, body, type);
      assert.is(answer.status, 201, `${what}: ${answer.body}`);
      assert.is(answer.headers['oci-subject'], what.startsWith('a subject') ? absent.digest : undefined, what);
      const pulled = await stack.client.request('GET', answer.headers.location ?? '');
      assert.ok(pulled.body.equals(body), what);
      assert.is(pulled.headers['content-type'], type);
    }
  }
  const missing = await put(
    'sparse',
    'v2',
    image({ layers: [{ ...foreign, mediaType: 'application/x.y' }] }),
    imageManifestType,
  );
  assert.is(missing.status, 404);
  assert.is(codeOf(missing), 'MANIFEST_BLOB_UNKNOWN');
});

test('Warnings: in their form, for what a push may lack', async () => {
  const absent = Array.from({ length: 8 }, () => ({
    mediaType: imageManifestType,
    digest: digestOf(someBytes(4)),
    size: 4,
  }));
  const answer = await put('warned', 'v1', index({ manifests: absent }));
  const first = absent
    .map(each => each.digest)
    .sort()
    .slice(0, 5);
  assert.is(
    answer.headers.warning,
    `299 - "the repository does not have what the manifest lists: ${first.join(', ')}"`,
  );
  const layers = [
    { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', digest: absent[0]?.digest, size: 4 },
  ];
  const untyped = await stack.client.request('PUT', '/v2/warned/manifests/v2', {
    body: JSON.stringify({ schemaVersion: 2, layers }),
  });
  assert.is(untyped.status, 201);
  assert.is(
    untyped.headers.warning,
    `299 - "1 layers are of a non-distributable type: a pull may not find them here", 299 - "the push had no Content-Type: stored as ${imageManifestType}"`,
  );
  assert.is((await put('warned', 'v3', index())).headers.warning, undefined);
});

test('Warnings: together they are no longer than 4096 bytes, and hold nothing that ends a header', () => {
  let header: string[] = [];
  const ctx = {
    res: { getHeader: () => (header.length > 0 ? header : undefined) },
    set: (_: string, values: string[]) => {
      header = values;
    },
  };
  for (let n = 0; n < 10; n++) warn(ctx as unknown as Context, `${n}\r\n"\\ä${'x'.repeat(500)}`);
  assert.is(header.length, 7);
  assert.ok(header.join('').length <= 4_096);
  assert.is(header[0], `299 - "0??\\"\\\\?${'x'.repeat(500)}"`);
});

test('Endpoints: every Location and Link is a path, whatever name the client came by', async () => {
  const names: Record<string, string>[] = [
    { host: 'registry.example.com' },
    { host: 'us.registry.example.com:8443' },
    { host: '127.0.0.1', 'x-forwarded-host': 'elsewhere.example.com', 'x-forwarded-proto': 'https' },
    { host: 'registry.example.com', forwarded: 'host=elsewhere.example.com;proto=https' },
  ];
  for (const [number, headers] of names.entries()) {
    const name = `located/${number}`;
    const at = `/v2/${name}`;
    const ask = async (method: string, path: string, status: number, body?: Buffer, more = {}) => {
      const answer = await stack.client.request(method, path, { body, headers: { ...headers, ...more } });
      assert.is(answer.status, status, `${method} ${path}: ${answer.body}`);
      for (const text of [answer.headers.location ?? at, /<(.*)>/.exec(String(answer.headers.link ?? ''))?.[1] ?? at]) {
        assert.ok(
          text.startsWith(`${at}/`) || text === at || text.startsWith('/v2/_catalog'),
          `${method} ${path}: ${text}`,
        );
      }
      return answer;
    };
    const bytes = someBytes(10);
    const digest = digestOf(bytes);
    const begun = (await ask('POST', `${at}/blobs/uploads/`, 202)).headers.location ?? '';
    await ask('PATCH', begun, 202, bytes.subarray(0, 4));
    await ask('PATCH', begun, 416, bytes, { 'content-range': '0-9' });
    const { location } = (await ask('GET', begun, 204)).headers;
    await ask('PUT', closing(location, digest), 201, bytes.subarray(4));
    await ask('POST', `${at}/blobs/uploads/?digest=${digest}`, 201, bytes);
    await ask('POST', `${at}/blobs/uploads/?mount=${digest}&from=${name}`, 201);
    const subject = { mediaType: indexType, digest, size: 1 };
    for (const tag of ['a', 'b']) {
      const body = index({ subject, annotations: { tag } });
      await ask('PUT', `${at}/manifests/${tag}`, 201, body, { 'content-type': indexType });
    }
    for (const list of ['tags/list', `referrers/${digest}`]) {
      assert.match((await ask('GET', `${at}/${list}?n=1`, 200)).headers.link?.toString() ?? '', 'rel="next"');
    }
    await ask('GET', '/v2/_catalog?n=1', 200);
  }
});

test('Pulling Manifests: a proxied namespace in the query changes nothing', async () => {
  await put('proxied', 'v1', index());
  assert.is((await stack.client.request('GET', '/v2/proxied/manifests/v1?ns=docker.io')).status, 200);
});

test.run();
