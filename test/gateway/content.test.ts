/** Pulling blobs, manifests and tags, and deleting them. */
import * as assert from 'uvu/assert';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { imageManifestType } from '../support/oci-client.js';
import { codeOf, digestOf, someBytes } from '../support/pushes.js';
import { rawRequest } from '../support/raw-http.js';
import { suite } from '../support/suite.js';

const test = suite('gateway content');
let stack: GatewayStack;

test.before(async () => {
  stack = await startGatewayStack();
});

const indexType = 'application/vnd.oci.image.index.v1+json';
const emptyIndex = (annotations: Record<string, string>) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [], annotations }));

test('Determining Support: /v2/ answers', async () => {
  for (const path of ['/v2/', '/v2']) {
    const answer = await stack.client.request('GET', path);
    assert.is(answer.status, 200);
    assert.is(answer.body.toString(), '{}');
    assert.is(answer.headers['docker-distribution-api-version'], 'registry/2.0');
  }
});

test('Pulling blobs: ranges of every form', async () => {
  const bytes = someBytes(500_000);
  const digest = await stack.client.pushBlob('ranges', bytes);
  const path = `/v2/ranges/blobs/${digest}`;
  const cases: [string, number, number][] = [
    ['bytes=0-0', 0, 1],
    ['bytes=100-199', 100, 200],
    ['bytes=499999-499999', 499_999, 500_000],
    ['bytes=499000-', 499_000, 500_000],
    ['bytes=-10', 499_990, 500_000],
    ['bytes=-9999999', 0, 500_000],
    ['bytes=400000-9999999', 400_000, 500_000],
    ['bytes=0-499999', 0, 500_000],
    ['bytes=499999-99999999999999999999', 499_999, 500_000],
    [`bytes=-${'9'.repeat(400)}`, 0, 500_000],
  ];
  for (const [range, from, to] of cases) {
    const answer = await stack.client.request('GET', path, { headers: { range } });
    assert.is(answer.status, 206, range);
    assert.is(answer.headers['content-range'], `bytes ${from}-${to - 1}/500000`);
    assert.is(answer.headers['content-length'], String(to - from));
    assert.is(answer.headers['docker-content-digest'], digest);
    assert.ok(answer.body.equals(bytes.subarray(from, to)), range);
  }
  for (const range of [
    'bytes=500000-',
    'bytes=500000-500001',
    'bytes=500-0',
    'bytes=-0',
    'bytes=99999999999999999999-',
  ]) {
    const answer = await stack.client.request('GET', path, { headers: { range } });
    assert.is(answer.status, 416, range);
    assert.is(answer.headers['content-range'], 'bytes */500000');
  }
  for (const range of ['bytes=0-1,5-6', 'items=0-1', 'bytes=x']) {
    const answer = await stack.client.request('GET', path, { headers: { range } });
    assert.is(answer.status, 200, range);
    assert.ok(answer.body.equals(bytes));
  }
  const other = await stack.client.request('GET', path, { headers: { range: 'bytes=0-9', 'if-range': '"other"' } });
  assert.is(other.status, 200);
  const same = await stack.client.request('GET', path, { headers: { range: 'bytes=0-9', 'if-range': `"${digest}"` } });
  assert.is(same.status, 206);
});

test('Pulling blobs: one of no bytes', async () => {
  const digest = await stack.client.pushBlob('empty', Buffer.alloc(0));
  const path = `/v2/empty/blobs/${digest}`;
  const answer = await stack.client.request('GET', path);
  assert.is(answer.status, 200);
  assert.is(answer.headers['content-length'], '0');
  assert.is((await stack.client.request('GET', path, { headers: { range: 'bytes=0-' } })).status, 416);
});

test('Checking if content exists: HEAD of a blob tells its size and digest; an encoded colon', async () => {
  const bytes = someBytes(1_234);
  const digest = await stack.client.pushBlob('head', bytes);
  for (const name of [digest, digest.replace(':', '%3A')]) {
    const answer = await stack.client.request('HEAD', `/v2/head/blobs/${name}`);
    assert.is(answer.status, 200);
    assert.is(answer.headers['content-length'], '1234');
    assert.is(answer.headers['docker-content-digest'], digest);
    assert.is(answer.headers['content-type'], 'application/octet-stream');
  }
  const missing = await stack.client.request('HEAD', `/v2/head/blobs/${digestOf(someBytes(3))}`);
  assert.is(missing.status, 404);
  assert.is(missing.body.length, 0);
});

test('Error Codes: what is not there', async () => {
  const digest = digestOf(someBytes(8));
  await stack.client.pushBlob('there', someBytes(8));
  const cases: [string, string][] = [
    [`/v2/there/blobs/${digest}`, 'BLOB_UNKNOWN'],
    [`/v2/not/there/blobs/${digest}`, 'NAME_UNKNOWN'],
    ['/v2/there/manifests/v1', 'MANIFEST_UNKNOWN'],
    [`/v2/there/manifests/${digest}`, 'MANIFEST_UNKNOWN'],
    ['/v2/not/there/manifests/v1', 'NAME_UNKNOWN'],
    ['/v2/not/there/tags/list', 'NAME_UNKNOWN'],
    ['/v2/_catalogue', 'UNSUPPORTED'],
    ['/nothing', 'UNSUPPORTED'],
  ];
  for (const [path, code] of cases) {
    const answer = await stack.client.request('GET', path);
    assert.is(answer.status, 404, path);
    assert.is(codeOf(answer), code, path);
    assert.is(answer.headers['content-type'], 'application/json');
  }
});

test('a blob of one repository is not in another', async () => {
  const digest = await stack.client.pushBlob('mine', someBytes(9));
  await stack.client.pushBlob('yours', someBytes(9));
  assert.is((await stack.client.request('GET', `/v2/yours/blobs/${digest}`)).status, 404);
});

test('Deleting Blobs: out of the repository, at once', async () => {
  const bytes = someBytes(77);
  const digest = await stack.client.pushBlob('delete', bytes);
  const path = `/v2/delete/blobs/${digest}`;
  assert.is((await stack.client.request('DELETE', path)).status, 202);
  assert.is((await stack.client.request('HEAD', path)).status, 404);
  const again = await stack.client.request('DELETE', path);
  assert.is(again.status, 404);
  assert.is(codeOf(again), 'BLOB_UNKNOWN');
  await stack.client.pushBlob('delete', bytes);
  assert.is((await stack.client.request('HEAD', path)).status, 200);
});

test('Pulling manifests: byte for byte, by tag and by digest, with type, size and digest; HEAD as well', async () => {
  const { digest, layers } = await stack.client.pushImage('library/image', 'v1', [someBytes(5_000), someBytes(10)]);
  const byTag = await stack.client.request('GET', '/v2/library/image/manifests/v1');
  assert.is(byTag.status, 200);
  assert.is(byTag.headers['content-type'], imageManifestType);
  assert.is(byTag.headers['docker-content-digest'], digest);
  assert.is(digestOf(byTag.body), digest);
  for (const reference of [digest, digest.replace(':', '%3a'), 'v1']) {
    for (const repository of ['library/image', 'image']) {
      const answer = await stack.client.request('GET', `/v2/${repository}/manifests/${reference}`);
      assert.ok(answer.body.equals(byTag.body), `${repository} ${reference}`);
      const head = await stack.client.request('HEAD', `/v2/${repository}/manifests/${reference}`);
      assert.is(head.status, 200);
      assert.is(head.headers['content-length'], String(byTag.body.length));
      assert.is(head.headers['content-type'], imageManifestType);
      assert.is(head.body.length, 0);
    }
  }
  assert.is(layers.length, 2);
});

test('Pulling manifests: the media type that it was pushed as, without parameters; odd bytes, and sha512', async () => {
  const bytes = Buffer.from('{\n  "schemaVersion": 2,\t"unknown": [1.50, "\\u00e4"] }\n');
  const type = 'application/vnd.example.thing.v3+json';
  for (const algorithm of ['sha256', 'sha512']) {
    const digest = digestOf(bytes, algorithm);
    const put = await stack.client.request('PUT', `/v2/odd/manifests/${digest}`, {
      body: bytes,
      headers: { 'content-type': `${type}; charset=utf-8` },
    });
    assert.is(put.status, 201, put.body.toString());
    assert.is(put.headers['docker-content-digest'], digest);
    const answer = await stack.client.request('GET', put.headers.location ?? '');
    assert.is(answer.headers['content-type'], type);
    assert.is(answer.headers['docker-content-digest'], digest);
    assert.ok(answer.body.equals(bytes));
  }
});

test('Pushing Manifests with Subject: OCI-Subject tells it, by tag and by digest, and it need not exist', async () => {
  const subject = { mediaType: imageManifestType, digest: digestOf(someBytes(5)), size: 5 };
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [], subject }));
  for (const reference of ['attached', digestOf(bytes)]) {
    const put = await stack.client.request('PUT', `/v2/subject/manifests/${reference}`, {
      body: bytes,
      headers: { 'content-type': indexType },
    });
    assert.is(put.status, 201);
    assert.is(put.headers['oci-subject'], subject.digest);
  }
});

test('Deleting tags keeps the manifest, deleting a manifest ends its tags, at once; a tag moves at once', async () => {
  const [one, two] = [emptyIndex({ n: '1' }), emptyIndex({ n: '2' })];
  const path = (reference: string) => `/v2/moving/manifests/${reference}`;
  await stack.client.pushManifest('moving', 'latest', one, indexType);
  assert.ok((await stack.client.request('GET', path('latest'))).body.equals(one));
  await stack.client.pushManifest('moving', 'latest', two, indexType);
  assert.ok((await stack.client.request('GET', path('latest'))).body.equals(two));
  await stack.client.pushManifest('moving', 'latest', one, indexType);
  assert.ok((await stack.client.request('GET', path('latest'))).body.equals(one));

  await stack.client.pushManifest('moving', 'second', one, indexType);
  assert.is((await stack.client.request('DELETE', path('second'))).status, 202);
  assert.is((await stack.client.request('HEAD', path('second'))).status, 404);
  assert.is((await stack.client.request('DELETE', path('second'))).status, 404);
  assert.is((await stack.client.request('HEAD', path(digestOf(one)))).status, 200);
  assert.is((await stack.client.request('DELETE', path(digestOf(one)))).status, 202);
  assert.is((await stack.client.request('HEAD', path(digestOf(one)))).status, 404);
  assert.is((await stack.client.request('GET', path('latest'))).status, 404);
  await stack.client.pushManifest('moving', 'latest', one, indexType);
  assert.is((await stack.client.request('HEAD', path('latest'))).status, 200);
});

test('Listing Tags: page by page, in ASCII order; last without n', async () => {
  const names = ['B', 'a', 'b', 'c', '_x', '0', 'latest'];
  for (const name of names) await stack.client.pushManifest('pages', name, emptyIndex({}), indexType);
  const sorted = names.toSorted();
  const list = async (query: string) => {
    const answer = await stack.client.request('GET', `/v2/pages/tags/list${query}`);
    assert.is(answer.status, 200, query);
    return { tags: JSON.parse(answer.body.toString()).tags as string[], link: answer.headers.link };
  };
  assert.equal(await list(''), { tags: sorted, link: undefined });
  assert.equal((await list('?last=a')).tags, sorted.slice(sorted.indexOf('a') + 1));
  assert.equal(await list('?n=0'), { tags: [], link: undefined });
  assert.equal(await list('?n=7'), { tags: sorted, link: undefined });
  assert.equal(await list('?n=100000'), { tags: sorted, link: undefined });
  assert.equal((await list('?last=zzz')).tags, []);
  const seen: string[] = [];
  let next: string | undefined = '/v2/pages/tags/list?n=3';
  while (next) {
    const answer = await stack.client.request('GET', next);
    seen.push(...JSON.parse(answer.body.toString()).tags);
    next = /^<(.*)>; rel="next"$/.exec(String(answer.headers.link ?? ''))?.[1];
  }
  assert.equal(seen, sorted);
  for (const query of ['?n=-1', '?n=x', '?n=1e3', '?last=%00', '?last=..']) {
    assert.is((await stack.client.request('GET', `/v2/pages/tags/list${query}`)).status, 400, query);
  }
});

test('Endpoints: wrong methods', async () => {
  const cases: [string, string, string][] = [
    ['POST', '/v2/', 'GET, HEAD'],
    ['PUT', `/v2/a/blobs/${digestOf(Buffer.alloc(0))}`, 'GET, HEAD, DELETE'],
    ['GET', '/v2/a/blobs/uploads/', 'POST'],
    ['DELETE', '/v2/a/tags/list', 'GET, HEAD'],
    ['POST', '/v2/_catalog', 'GET, HEAD'],
    ['PUT', `/v2/a/referrers/${digestOf(Buffer.alloc(0))}`, 'GET, HEAD'],
    ['PATCH', '/v2/a/manifests/v1', 'GET, HEAD, PUT, DELETE'],
    ['OPTIONS', '/v2/a/manifests/v1', 'GET, HEAD, PUT, DELETE'],
  ];
  for (const [method, path, allow] of cases) {
    const answer = await rawRequest(stack.port, method, path);
    assert.is(answer.status, 405, path);
    assert.is(answer.headers.allow, allow);
    assert.is(codeOf(answer), 'UNSUPPORTED');
  }
});

test('an absolute request target is the same resource', async () => {
  assert.is((await rawRequest(stack.port, 'GET', 'http://registry.example/v2/')).status, 200);
});

test.run();
