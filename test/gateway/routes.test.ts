import * as assert from 'uvu/assert';
import { OciError } from '../../gateway/http/errors.js';
import { matchPath, readRoute, splitTarget } from '../../gateway/registry/routes.js';
import { suite } from '../support/suite.js';

const test = suite('gateway routes');

const hex = 'a'.repeat(64);
const uuid = '0b0f4b6c-9d0f-4d52-8f3a-6c3f1e1c2d3e';

function route(path: string): unknown {
  const match = matchPath(path);
  if (!match) return undefined;
  try {
    return readRoute(match);
  } catch (error) {
    if (error instanceof OciError) return `${error.status} ${error.code}`;
    throw error;
  }
}

test('every resource', () => {
  assert.equal(route('/v2/'), { kind: 'base' });
  assert.equal(route('/v2'), { kind: 'base' });
  assert.equal(route(`/v2/a/b/blobs/sha256:${hex}`), { kind: 'blob', repository: 'a/b', digest: `sha256:${hex}` });
  assert.equal(route('/v2/a/blobs/uploads/'), { kind: 'uploads', repository: 'a' });
  assert.equal(route('/v2/a/blobs/uploads'), { kind: 'uploads', repository: 'a' });
  assert.equal(route(`/v2/a/blobs/uploads/${uuid}`), { kind: 'upload', repository: 'a', uuid });
  assert.equal(route('/v2/a/manifests/v1'), { kind: 'manifest', repository: 'a', reference: { tag: 'v1' } });
  assert.equal(route('/v2/a/tags/list'), { kind: 'tags', repository: 'a' });
  assert.equal(route('/v2/_catalog'), { kind: 'catalog' });
  const subject = `sha256:${hex}`;
  assert.equal(route(`/v2/a/b/referrers/${subject}`), { kind: 'referrers', repository: 'a/b', subject });
});

test('from the right: the words of the grammar are names too', () => {
  assert.equal(route('/v2/a/manifests/b/manifests/c'), {
    kind: 'manifest',
    repository: 'a/manifests/b',
    reference: { tag: 'c' },
  });
  assert.equal(route('/v2/a/blobs/uploads/manifests/b'), {
    kind: 'manifest',
    repository: 'a/blobs/uploads',
    reference: { tag: 'b' },
  });
  assert.equal(route('/v2/tags/list/tags/list'), { kind: 'tags', repository: 'tags/list' });
  assert.equal(route('/v2/blobs/uploads/blobs/uploads/'), { kind: 'uploads', repository: 'blobs/uploads' });
  assert.equal(route('/v2/a/manifests/list'), { kind: 'manifest', repository: 'a', reference: { tag: 'list' } });
});

test('an encoded colon is a colon, in references only', () => {
  const digest = `sha256:${hex}`;
  assert.equal(route(`/v2/a/blobs/sha256%3A${hex}`), { kind: 'blob', repository: 'a', digest });
  assert.equal(route(`/v2/a/manifests/sha256%3a${hex}`), { kind: 'manifest', repository: 'a', reference: { digest } });
  assert.is(route(`/v2/a%3Ab/manifests/v1`), '400 NAME_INVALID');
});

test('Pulling manifests: names of repositories that are none', () => {
  const names = [
    'A',
    'a//b',
    '/a',
    'a/',
    '..',
    'a/..',
    '../a',
    'a/../b',
    '.',
    'a.',
    '-a',
    'a__-b',
    'a%2Fb',
    '%61',
    'a%00',
    'a b',
    'ä',
    `${'a/'.repeat(128)}a`,
    'a\\b',
    'a%2e%2e',
    '',
  ];
  for (const name of names) {
    assert.is(route(`/v2/${name}/manifests/v1`), '400 NAME_INVALID', name);
    assert.is(route(`/v2/${name}/tags/list`), '400 NAME_INVALID', name);
    assert.is(route(`/v2/${name}/blobs/uploads/`), '400 NAME_INVALID', name);
    assert.is(route(`/v2/${name}/blobs/sha256:${hex}`), '400 NAME_INVALID', name);
  }
});

test('Pulling manifests: tags and digests that are none', () => {
  for (const tag of ['..', '.a', '-a', 'a%2fb', '%2e%2e', 'a b', 'a'.repeat(129), '', 'ä', 'a%00', '%', '%3']) {
    assert.is(route(`/v2/a/manifests/${tag}`), '400 MANIFEST_INVALID', tag);
  }
  const digests = [
    'sha256:bad',
    `sha256:${hex}0`,
    `sha256:${'A'.repeat(64)}`,
    `md5:${'a'.repeat(32)}`,
    `sha512:${hex}`,
    ':',
    `sha256:${hex}:`,
    `sha256%3A${hex}%00`,
    `sha256:${hex.slice(2)}..`,
  ];
  for (const digest of digests) {
    assert.is(route(`/v2/a/manifests/${digest}`), '400 DIGEST_INVALID', digest);
    assert.is(route(`/v2/a/blobs/${digest}`), '400 DIGEST_INVALID', digest);
    assert.is(route(`/v2/a/referrers/${digest}`), '400 DIGEST_INVALID', digest);
  }
  for (const digest of ['..', '%2e%2e', '', hex])
    assert.is(route(`/v2/a/blobs/${digest}`), '400 DIGEST_INVALID', digest);
  for (const id of ['..', '%2e%2e', 'x', `${uuid}0`, uuid.toUpperCase(), `${uuid}%00`]) {
    assert.is(route(`/v2/a/blobs/uploads/${id}`), '404 BLOB_UPLOAD_UNKNOWN', id);
  }
});

test('what is no resource', () => {
  for (const path of [
    '/',
    '',
    '*',
    '/v1/',
    '/v2x',
    '/v2/a',
    '/v2/a/manifests/b/c',
    '/v2/_catalog/',
    '/v2/a/_catalog',
    '/V2/',
    '//v2/',
    `/v2/a/blobs/uploads/${uuid}/x`,
    '/v2/a/referrers',
    '/v2/referrers',
    '/v2/a/tags/list/',
    '/v2/a/tags/v1',
    '/v2/a/b/list',
    '/v2/a/uploads/',
    `/v2/a/uploads/${uuid}`,
  ]) {
    assert.is(route(path), undefined, path);
  }
});

test('request targets', () => {
  assert.is(splitTarget('/v2/?a=b?c').path, '/v2/');
  assert.is(splitTarget('/v2/?a=b?c').query.get('a'), 'b?c');
  assert.is(splitTarget('http://host:80/v2/a?n=1').path, '/v2/a');
  assert.is(splitTarget('HTTP://host').path, '');
  assert.is(splitTarget('/a/http://host/').path, '/a/http://host/');
  assert.equal([splitTarget('?a=1').path, [...splitTarget('?a=1').query]], ['', [['a', '1']]]);
  assert.is(splitTarget('/x?digest=sha256%3Aab&digest=y').query.get('digest'), 'sha256:ab');
});

test.run();
