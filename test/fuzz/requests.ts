/** Single requests: every route, method, parameter, header and form of a body, right and wrong. */
import fc from 'fast-check';
import type { Fixtures } from './fixtures.js';
import { editedJson, jsonEdit } from './json.js';
import type { Framing, WireRequest } from './wire.js';
import { inHeader, inTarget, latin1, mostly, mutated, seldom } from './words.js';

export interface SingleRequest extends WireRequest {
  /** Which gateway it goes to. */
  readonly region: number;
}

const methods = ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE'];
const oddMethods = [
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'QUERY',
  'get',
  'FOO',
  'M-SEARCH',
  '',
  'GET GET',
  'G\u00e9T',
  'PRI',
];

export function singleRequest(fixtures: Fixtures): fc.Arbitrary<SingleRequest> {
  const request: fc.Arbitrary<SingleRequest> = fc.record({
    region: fc.nat(1),
    method: fc.oneof(
      { weight: 20, arbitrary: fc.constantFrom(...methods) },
      { weight: 1, arbitrary: fc.constantFrom(...oddMethods) },
    ),
    target: target(fixtures),
    version: fc.oneof(
      { weight: 40, arbitrary: fc.constant('HTTP/1.1') },
      { weight: 1, arbitrary: fc.constantFrom('HTTP/1.0', 'HTTP/2.0', 'HTTP/9.9', 'HTTP', '', 'http/1.1') },
    ),
    headers: headers(fixtures),
    framing: framing(),
    body: body(fixtures),
    leaveAfter: seldom(15, fc.nat(2_000)),
    followed: fc.nat(4).map(number => number === 0),
  });
  // Node throws away what arrives together with an offer to upgrade; whoever makes one waits for the answer.
  const offersUpgrade = ({ headers }: WireRequest) => headers.some(([name]) => name === 'Upgrade');
  return request.map(each => ({ ...each, followed: each.followed === true && !offersUpgrade(each) }));
}

function target(fixtures: Fixtures): fc.Arbitrary<string> {
  const name = mostly(...fixtures.repositories, 'new/one', 'library/x', 'a', 'blobs/uploads', 'tags/list');
  const digest = mostly(...fixtures.digests, `sha256:${'0'.repeat(64)}`, `sha512:${'a'.repeat(128)}`);
  const tag = mostly(...fixtures.tags, 'latest', 'v2', '_', 'a'.repeat(128));
  const reference = fc.oneof(tag, digest);
  const uuid = mostly(...fixtures.uuids, '0b0f4b6c-9d0f-4d52-8f3a-6c3f1e1c2d3e');
  const path = fc.oneof(
    join('/v2/', name, '/blobs/', digest),
    join('/v2/', name, '/blobs/uploads/', fc.constantFrom('', '/')),
    join('/v2/', name, '/blobs/uploads/', uuid),
    join('/v2/', name, '/manifests/', reference),
    join('/v2/', name, '/referrers/', digest),
    join('/v2/', name, '/tags/', fc.constantFrom('list', 'list/', '')),
    mostly('/v2/', '/v2', '/v2/_catalog', '/health/instance', '/health', '/', '*', '/v1/', 'http://host/v2/'),
  );
  const parameter = fc.tuple(
    mostly('n', 'last', 'digest', 'mount', 'from', 'tag', 'artifactType', 'digest-algorithm', 'offset', 'ns'),
    fc.oneof(
      digest,
      tag,
      name,
      mostly('0', '1', '1000', '-1', '1e9', 'sha512', 'md5', 'a/b', 'application/vnd.a+json'),
    ),
  );
  const queries = fc.oneof(
    { weight: 3, arbitrary: fc.constant('') },
    {
      weight: 3,
      arbitrary: fc.array(parameter, { maxLength: 4 }).map(pairs => `?${pairs.map(p => p.join('=')).join('&')}`),
    },
    { weight: 1, arbitrary: mutated(fc.constant('?n=1&last=a')) },
    // The same tag in the path and again in the query.
    { weight: 1, arbitrary: fc.constantFrom(...fixtures.tags, 'latest', 'v2').map(again => `?tag=${again}&tag=w`) },
    {
      weight: 1,
      arbitrary: fc.nat(200).map(count => `?${Array.from({ length: count }, (_, i) => `tag=t${i}`).join('&')}`),
    },
  );
  const right = fc.tuple(path, queries).map(([a, b]) => inTarget(a + b));
  return fc.oneof(
    { weight: 30, arbitrary: right },
    { weight: 2, arbitrary: fc.tuple(path, queries).map(([a, b]) => inHeader(a + b)) },
    { weight: 1, arbitrary: fc.nat(50_000).map(length => `/v2/${'a'.repeat(length)}/tags/list`) },
  );
}

function join(first: string, a: fc.Arbitrary<string>, between: string, b: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(a, b).map(([x, y]) => `${first}${x}${between}${y}`);
}

function headers(fixtures: Fixtures): fc.Arbitrary<[string, string][]> {
  const ranges = [
    'bytes=0-0',
    'bytes=0-',
    'bytes=-1',
    'bytes=5-1',
    'bytes=0-99999999999999999999',
    'bytes=1-2,4-5',
    'bytes=-0',
  ];
  const named = (name: string, ...values: string[]) => fc.tuple(fc.constant(name), mostly(...values));
  const header = fc.oneof(
    named('Range', ...ranges, 'bytes', 'items=0-1', 'bytes=999999-', 'bytes = 0 - 1'),
    named('Content-Range', '0-0', '0-99', '5-1', '0-999999999999', 'bytes 0-5/6', '5-9', '0-'),
    named('Content-Type', ...fixtures.mediaTypes, 'application/octet-stream', 'a', 'text/plain; charset=utf-8', ''),
    named('If-Range', `"${fixtures.digests[0]}"`, '"x"', 'Mon, 01 Jan 2024 00:00:00 GMT'),
    named('If-None-Match', `"${fixtures.digests[0]}"`, '*'),
    named('Accept', '*/*', ...fixtures.mediaTypes),
    named('Authorization', 'Basic YTpi', 'Bearer x', 'Basic', 'Negotiate', `Basic ${'A'.repeat(5_000)}`),
    named('traceparent', `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`, '00-0-0-0', ''),
    named('Expect', '100-continue', 'something', '100-continue, 100-continue'),
    named('Connection', 'close', 'keep-alive', 'Upgrade', 'x'),
    named('Upgrade', 'websocket', 'h2c'),
    named('Content-Encoding', 'gzip', 'identity'),
    named('X-Forwarded-Host', 'a', 'a, b', '"'),
    named('X-Forwarded-Proto', 'https', 'x'),
    named('Forwarded', 'for=1;host=a;proto=https', ';;'),
    fc.tuple(latin1(10), latin1(60)),
    fc.constantFrom<[string, string]>(['X-Large', 'x'.repeat(33_000)], ['X-Long', 'x'.repeat(20_000)]),
  );
  const host = fc.oneof(
    { weight: 20, arbitrary: fc.constant<[string, string][]>([['Host', 'localhost']]) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<[string, string][]>(
        [],
        [['Host', '']],
        [['Host', 'a b']],
        [
          ['Host', 'a'],
          ['Host', 'b'],
        ],
      ),
    },
  );
  const clean = ([name, value]: [string, string]): [string, string] => [inHeader(name), inHeader(value)];
  return fc.tuple(host, fc.array(header, { maxLength: 4 })).map(([first, more]) => [...first, ...more.map(clean)]);
}

function framing(): fc.Arbitrary<Framing> {
  const exact: Framing = { kind: 'length', off: 0 };
  return fc.oneof(
    { weight: 8, arbitrary: fc.constant(exact) },
    { weight: 5, arbitrary: fc.constant<Framing>({ kind: 'none' }) },
    { weight: 1, arbitrary: fc.constantFrom(-5, -1, 1, 10, 100_000).map(off => ({ kind: 'length' as const, off })) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('chunked' as const),
        size: fc.constantFrom(1, 7, 1_000, 100_000),
        broken: fc.oneof(
          { weight: 6, arbitrary: fc.constant(undefined) },
          {
            weight: 1,
            arbitrary: fc.constantFrom(
              '',
              '0\r\n',
              'zz\r\n',
              '-1\r\n',
              'ffffffffffffffffff\r\n',
              '5;x=y\r\nhello\r\n0\r\n\r\n',
            ),
          },
          {
            weight: 1,
            arbitrary: fc.constantFrom(
              '0\r\nTrailer: a\r\n\r\n',
              '0\r\n: \r\n\r\n',
              '0\n\n',
              `1;${'x'.repeat(20_000)}\r\n`,
            ),
          },
        ),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom<Framing>(
        { kind: 'lines', lines: ['Content-Length: 5', 'Transfer-Encoding: chunked'] },
        { kind: 'lines', lines: ['Content-Length: 5', 'Content-Length: 6'] },
        { kind: 'lines', lines: ['Content-Length: abc'] },
        { kind: 'lines', lines: ['Content-Length: 0x5'] },
        { kind: 'lines', lines: ['Content-Length: 5, 5'] },
        { kind: 'lines', lines: ['Transfer-Encoding: gzip'] },
        { kind: 'lines', lines: ['Transfer-Encoding: chunked, chunked'] },
        { kind: 'lines', lines: ['Transfer-Encoding: identity'] },
        { kind: 'lines', lines: ['Content-Length: 9007199254740993'] },
        { kind: 'lines', lines: ['Transfer-Encoding: xchunked'] },
        { kind: 'lines', lines: [' folded: line'] },
        { kind: 'lines', lines: ['no colon'] },
      ),
    },
  );
}

function body(fixtures: Fixtures): fc.Arbitrary<Buffer> {
  const bytes = fc.uint8Array({ maxLength: 300 }).map(each => Buffer.from(each));
  const manifest = fc
    .tuple(fc.constantFrom(...fixtures.manifests), fc.array(jsonEdit, { maxLength: 3 }))
    .map(([value, edits]) => editedJson(value, edits));
  return fc.oneof(
    { weight: 2, arbitrary: fc.constant(Buffer.alloc(0)) },
    { weight: 2, arbitrary: bytes },
    { weight: 4, arbitrary: manifest },
    { weight: 1, arbitrary: fc.constantFrom(...fixtures.blobs) },
    { weight: 1, arbitrary: fc.nat(300_000).map(length => Buffer.alloc(length, 'x')) },
  );
}
