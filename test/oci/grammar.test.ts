/** The small pure parts of lib/oci: what is a digest, a name, a tag, a range, a size, and what is not. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import {
  algorithmOf,
  digestOf,
  endHash,
  hexOf,
  isDigestAlgorithm,
  newHash,
  parseDigest,
} from '../../lib/oci/digest.js';
import { isMediaType, isNonDistributable } from '../../lib/oci/media-types.js';
import { parseRepository, parseTag, splitRepository } from '../../lib/oci/name.js';
import { parseContentRange, parseRange } from '../../lib/oci/range.js';
import { asSize } from '../../lib/oci/size.js';
import { suite } from '../support/suite.js';

const test = suite('oci: grammar');

const EMPTY = {
  sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  sha512:
    'cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e',
} as const;

test('digests: two algorithms, in lower case, of the right length', () => {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const digest = digestOf(Buffer.alloc(0), algorithm);
    assert.is(digest, `${algorithm}:${EMPTY[algorithm]}`);
    assert.is(parseDigest(digest), digest);
    assert.equal([algorithmOf(digest), hexOf(digest)], [algorithm, EMPTY[algorithm]]);
    assert.is(endHash(algorithm, newHash(algorithm).update('a').update('b')), digestOf(Buffer.from('ab'), algorithm));
    assert.ok(isDigestAlgorithm(algorithm));
  }
  for (const text of [
    ...['', 'sha256', 'sha256:', EMPTY.sha256, `sha256:${EMPTY.sha512}`, `sha512:${EMPTY.sha256}`],
    ...[`sha256:${EMPTY.sha256.toUpperCase()}`, `SHA256:${EMPTY.sha256}`, `md5:${EMPTY.sha256}`],
    ...[
      `sha256:${EMPTY.sha256}\n`,
      ` sha256:${EMPTY.sha256}`,
      `sha256:${EMPTY.sha256.slice(1)}`,
      `sha256:../${'a'.repeat(61)}`,
    ],
  ]) {
    assert.is(parseDigest(text), undefined, JSON.stringify(text));
  }
  for (const name of ['md5', 'SHA256', 'toString', '']) assert.not(isDigestAlgorithm(name), name);
});

test('repository names: components of lower case, with separators between them', () => {
  for (const name of ['a', 'a/b', 'library/node', 'a.b_c__d-e---f/0', 'a'.repeat(255)])
    assert.is(parseRepository(name), name);
  for (const name of [
    ...['', '/', 'a/', '/a', 'a//b', 'A', 'a/B', 'a_', '_a', 'a.', '.a', '-a', 'a-', 'a..b', 'a___b', 'a._b', 'a b'],
    ...['..', 'a/../b', 'a%2fb', 'ä', 'a\n', 'a'.repeat(256)],
  ]) {
    assert.is(parseRepository(name), undefined, JSON.stringify(name));
  }
  const of = (name: string) => splitRepository(parseRepository(name) ?? ('' as never), 'library');
  assert.equal(of('node'), { namespace: 'library', rest: 'node' });
  assert.equal(of('library/node'), { namespace: 'library', rest: 'node' });
  assert.equal(of('a/b/c'), { namespace: 'a', rest: 'b/c' });
});

test('tags', () => {
  for (const tag of ['a', '_', '0', 'V1.0-rc_1', 'a'.repeat(128)]) assert.is(parseTag(tag), tag);
  for (const tag of ['', '.a', '-a', 'a b', 'a/b', 'a:b', 'a\n', 'ä', 'a'.repeat(129)])
    assert.is(parseTag(tag), undefined, JSON.stringify(tag));
});

test('media types, and those of layers that need not be here', () => {
  const longest = 'a'.repeat(127);
  for (const type of ['text/plain', 'application/vnd.oci.image.index.v1+json', 'a/b', `${longest}/${longest}`])
    assert.ok(isMediaType(type), type);
  for (const type of [
    '',
    'text',
    'text/',
    '/plain',
    'text/plain; charset=utf-8',
    'text/pl ain',
    'a/b/c',
    '.a/b',
    `${longest}a/b`,
    `b/${longest}a`,
  ])
    assert.not(isMediaType(type), type);
  assert.ok(isNonDistributable('application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'));
  assert.ok(isNonDistributable('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'));
  assert.not(isNonDistributable('application/vnd.oci.image.layer.v1.tar+gzip'));
});

test('a range is what is left when the bytes outside of it are taken away', () => {
  const edge = fc.option(fc.integer({ min: 0, max: 12 }), { nil: undefined });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 }), edge, edge, (size, first, last) => {
      const bytes = Array.from({ length: size }, (_, n) => n);
      const part = parseRange(`bytes=${first ?? ''}-${last ?? ''}`, size);
      if (first === undefined && last === undefined) return assert.is(part, 'whole');
      const wanted =
        first === undefined
          ? bytes.slice(Math.max(0, size - (last ?? 0)))
          : bytes.filter(n => n >= first && n <= (last ?? size));
      if (wanted.length === 0) return assert.is(part, 'unsatisfiable');
      assert.equal(part, { offset: wanted[0], length: wanted.length });
    }),
  );
});

test('what is no range of bytes is passed over', () => {
  for (const header of [
    undefined,
    '',
    'bytes',
    'bytes=',
    'items=0-1',
    'bytes=0-1,3-4',
    'bytes=a-b',
    'bytes=0--1',
    '0-1',
  ])
    assert.is(parseRange(header, 10), 'whole', String(header));
  assert.equal(parseRange('BYTES= 2-3 ', 10), { offset: 2, length: 2 });
});

test('the range of a chunk: two numbers, the second not before the first', () => {
  assert.equal(parseContentRange('0-0'), { start: 0, end: 0 });
  assert.equal(parseContentRange('5-20'), { start: 5, end: 20 });
  for (const header of [
    '',
    '-',
    '1-',
    '-1',
    '2-1',
    'bytes 0-1',
    '0-1/2',
    ' 0-1',
    '0-1 ',
    '0x0-1',
    `0-${'9'.repeat(16)}`,
  ])
    assert.is(parseContentRange(header), undefined, header);
});

test('sizes: whole numbers that a double can count', () => {
  for (const [value, size] of [
    [0, 0],
    ['0', 0],
    [5n, 5],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ] as const) {
    assert.is(asSize(value), size);
  }
  for (const value of [
    -1,
    1.5,
    Number.NaN,
    2 ** 53,
    2n ** 53n,
    -1n,
    '',
    '-1',
    '1.5',
    '1e3',
    ' 1',
    '9007199254740992',
    null,
    undefined,
    true,
    {},
  ])
    assert.throws(() => asSize(value), /not a size in bytes/, String(value));
});

test.run();
