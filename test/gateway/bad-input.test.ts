/** Bad input: each gets the right error, and nothing of it is stored. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { imageManifestType } from '../support/oci-client.js';
import { begin, closing, codeOf, digestOf, someBytes, waysToPush } from '../support/pushes.js';
import { RawConnection, rawRequest } from '../support/raw-http.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('gateway bad input');
let stack: GatewayStack;
const MiB = 1024 * 1024;
const MANIFEST_LIMIT = 5 * MiB;

test.before(async () => {
  stack = await startGatewayStack({
    config: { MAXIMUM_LAYER_SIZE: '1M', ENTREPOT_MAXIMUM_MANIFEST_SIZE: MANIFEST_LIMIT },
  });
});

/** After each test: no blob, no manifest, no tag, nothing in the store, and no upload that somebody could close. */
test.after.each(async () => {
  await stack.sql('delete from blobupload');
  for (const table of ['imagestorage', 'imagestorageplacement', 'uploadedblob', 'manifest', 'tag', 'replication']) {
    assert.equal(await stack.sql(`select * from ${table}`), [], table);
  }
  assert.equal((await stack.stored()).blobs, []);
});

const uploadRows = () => stack.sql('select byte_count::int as bytes from blobupload order by id');
const hex = 'a'.repeat(64);

for (const [way, push] of Object.entries(waysToPush)) {
  test(`Pushing blobs: a wrong digest is 400, and no blob appears: ${way}`, async () => {
    const bytes = someBytes(50_000);
    for (const algorithm of ['sha256', 'sha512']) {
      const digest = digestOf(someBytes(10), algorithm);
      const answer = await push(stack.client, 'wrong', bytes, digest);
      assert.is(answer.status, 400, answer.body.toString());
      assert.is(codeOf(answer), 'DIGEST_INVALID');
      assert.is((await stack.client.request('HEAD', `/v2/wrong/blobs/${digest}`)).status, 404);
      assert.is((await stack.client.request('HEAD', `/v2/wrong/blobs/${digestOf(bytes)}`)).status, 404);
      assert.equal(await uploadRows(), []);
    }
    assert.equal((await stack.stored()).uploads, []);
  });
}

test('Pushing blobs: a malformed digest, or an unknown algorithm, leaves the upload as it is', async () => {
  const location = await begin(stack.client, 'malformed');
  const digests = [
    '',
    'sha256:bad',
    hex,
    `sha256:${'A'.repeat(64)}`,
    `md5:${'a'.repeat(32)}`,
    '../../etc/passwd',
    '%00',
  ];
  for (const digest of digests) {
    const put = await stack.client.request('PUT', `${location}&digest=${digest}`, { body: 'x' });
    assert.is(put.status, 400, digest);
    assert.is(codeOf(put), 'DIGEST_INVALID', digest);
    const post = await stack.client.request('POST', `/v2/malformed/blobs/uploads/?digest=${digest}`, { body: 'x' });
    assert.is(post.status, 400, digest);
    assert.is(codeOf(post), 'DIGEST_INVALID', digest);
  }
  const none = await stack.client.request('PUT', location, { body: 'x' });
  assert.is(none.status, 400);
  assert.is(codeOf(none), 'DIGEST_INVALID');
  const algorithm = await stack.client.request('POST', '/v2/malformed/blobs/uploads/?digest-algorithm=md5');
  assert.is(algorithm.status, 400);
  assert.equal(await uploadRows(), [{ bytes: 0 }]);
});

test('Pushing a blob in chunks: one out of order, by PATCH and by PUT, is refused and not written', async () => {
  const bytes = someBytes(3_000);
  const location = await begin(stack.client, 'order');
  const first = await stack.client.request('PATCH', location, {
    body: bytes.subarray(0, 1_000),
    headers: { 'content-range': '0-999' },
  });
  assert.is(first.status, 202);
  const current = first.headers.location ?? '';
  const wrong = ['2000-2999', '0-999', '999-1998', '1001-2000'];
  for (const range of wrong) {
    for (const method of ['PATCH', 'PUT']) {
      const path = method === 'PUT' ? closing(current, digestOf(bytes)) : current;
      const answer = await stack.client.request(method, path, {
        body: bytes.subarray(2_000),
        headers: { 'content-range': range },
      });
      assert.is(answer.status, 416, `${method} ${range}`);
      assert.is(codeOf(answer), 'BLOB_UPLOAD_INVALID');
      assert.is(answer.headers.range, '0-999');
      assert.type(answer.headers.location, 'string');
    }
  }
  for (const range of ['bytes 1000-1999', '1000', 'x', '1999-1000', '-1', '1000-1999/*', `${'9'.repeat(30)}-1`]) {
    const answer = await stack.client.request('PATCH', current, { body: 'x', headers: { 'content-range': range } });
    assert.is(answer.status, 416, range);
    assert.is(answer.headers.range, '0-999');
  }
  const status = await stack.client.request('GET', current);
  assert.is(status.status, 204);
  assert.is(status.headers.range, '0-999');
  assert.equal(await uploadRows(), [{ bytes: 1_000 }]);
});

test('a chunk that has not the length it says is refused and not written', async () => {
  const location = await begin(stack.client, 'length');
  for (const method of ['PATCH', 'PUT']) {
    const path = method === 'PUT' ? closing(location, digestOf(someBytes(1))) : location;
    for (const size of [99, 101]) {
      for (const body of [someBytes(size), Readable.from([someBytes(size)])]) {
        const answer = await stack.client.request(method, path, { body, headers: { 'content-range': '0-99' } });
        assert.is(answer.status, 400, `${method} ${size}`);
        assert.is(codeOf(answer), 'SIZE_INVALID');
      }
    }
  }
  assert.equal(await uploadRows(), [{ bytes: 0 }]);
});

test('a blob that is too large', async () => {
  const before = (await stack.stored()).uploads;
  const digest = digestOf(someBytes(1));
  const tooMuch = someBytes(MiB + 1);
  const answers = async function* () {
    yield stack.client.request('POST', `/v2/large/blobs/uploads/?digest=${digest}`, { body: tooMuch });
    yield stack.client.request('POST', `/v2/large/blobs/uploads/?digest=${digest}`, { body: Readable.from([tooMuch]) });
    for (const body of [tooMuch, Readable.from([tooMuch])]) {
      yield stack.client.request('PATCH', await begin(stack.client, 'large'), { body });
    }
    for (const body of [tooMuch, Readable.from([tooMuch])]) {
      yield stack.client.request('PUT', closing(await begin(stack.client, 'large'), digest), { body });
    }
    const half = await stack.client.request('PATCH', await begin(stack.client, 'large'), { body: someBytes(MiB / 2) });
    yield stack.client.request('PATCH', half.headers.location ?? '', { body: someBytes(MiB / 2 + 1) });
  };
  for await (const answer of answers()) {
    assert.is(answer.status, 413, answer.body.toString());
    assert.is(codeOf(answer), 'SIZE_INVALID');
  }
  assert.equal(await uploadRows(), []);
  assert.equal((await stack.stored()).uploads, before);
});

test('uploads of others, of other repositories, and of nobody', async () => {
  const location = await begin(stack.client, 'mine');
  const elsewhere = location.replace('/mine/', '/yours/');
  const digest = digestOf(Buffer.from('x'));
  for (const path of [elsewhere, location.replace(/[0-9a-f]{12}/, '0'.repeat(12))]) {
    const answers = [
      await stack.client.request('GET', path),
      await stack.client.request('PATCH', path, { body: 'x' }),
      await stack.client.request('PUT', closing(path, digest), { body: 'x' }),
      await stack.client.request('PUT', closing(path, digest)),
      await stack.client.request('DELETE', path),
    ];
    for (const answer of answers) {
      assert.is(answer.status, 404);
      assert.is(codeOf(answer), 'BLOB_UPLOAD_UNKNOWN');
    }
  }
  assert.equal(await uploadRows(), [{ bytes: 0 }]);
});

test(
  'path tricks in every parameter of every path',
  async () => {
    const tricks = [
      '..',
      '.',
      '%2e%2e',
      '%2E%2e%2f%2e%2e',
      'a%2f..%2fb',
      '..%5c..',
      'a%00b',
      '%',
      '%zz',
      '%c0%ae%c0%ae',
      'UPPER',
      'a b',
      '~root',
      '$(id)',
      "';drop",
      'a\\..\\b',
    ];
    const uuid = '0b0f4b6c-9d0f-4d52-8f3a-6c3f1e1c2d3e';
    const send = async (method: string, target: string, statuses: number[], codes: string[]) => {
      // A space would end the target; a client that sends one gets told that this is not HTTP.
      const answer = await rawRequest(
        stack.port,
        method,
        target,
        { 'Content-Type': imageManifestType },
        method === 'GET' ? '' : '{}',
      );
      const expected = target.includes(' ') ? [400] : statuses;
      assert.ok(expected.includes(answer.status), `${method} ${target}: ${answer.status} ${answer.body}`);
      if (!target.includes(' ')) assert.ok(codes.includes(codeOf(answer)), `${method} ${target}: ${answer.body}`);
    };
    for (const trick of tricks) {
      for (const name of [trick, `a/${trick}`, `${trick}/a`, `a/${trick}/b`, `a//${trick}`, `${trick}/`]) {
        const bad: [number[], string[]] = [[400], ['NAME_INVALID']];
        await send('GET', `/v2/${name}/tags/list`, ...bad);
        await send('GET', `/v2/${name}/blobs/sha256:${hex}`, ...bad);
        await send('DELETE', `/v2/${name}/blobs/sha256:${hex}`, ...bad);
        await send('POST', `/v2/${name}/blobs/uploads/`, ...bad);
        await send('POST', `/v2/${name}/blobs/uploads/?digest=sha256:${hex}`, ...bad);
        await send('PATCH', `/v2/${name}/blobs/uploads/${uuid}`, ...bad);
        await send('PUT', `/v2/${name}/blobs/uploads/${uuid}?digest=sha256:${hex}`, ...bad);
        await send('PUT', `/v2/${name}/manifests/v1`, ...bad);
        await send('GET', `/v2/${name}/manifests/v1`, ...bad);
      }
      if (trick !== 'UPPER') {
        for (const method of ['GET', 'PUT', 'DELETE']) {
          await send(method, `/v2/a/manifests/${trick}`, [400], ['MANIFEST_INVALID']);
          await send(
            method,
            `/v2/a/manifests/../${trick}`,
            [400, 404, 405],
            ['MANIFEST_INVALID', 'NAME_INVALID', 'UNSUPPORTED'],
          );
        }
      }
      for (const digest of [
        trick,
        `sha256:${trick}`,
        `sha256:${hex}/${trick}`.replace('/', '%2f'),
        `${trick}:${hex}`,
      ]) {
        await send('GET', `/v2/a/blobs/${digest}`, [400], ['DIGEST_INVALID']);
        await send('DELETE', `/v2/a/blobs/${digest}`, [400], ['DIGEST_INVALID']);
        await send('POST', `/v2/a/blobs/uploads/?digest=${digest.replaceAll(' ', '+')}`, [400], ['DIGEST_INVALID']);
      }
      for (const id of [trick, `${uuid}${trick}`]) {
        await send('GET', `/v2/a/blobs/uploads/${id}`, [404], ['BLOB_UPLOAD_UNKNOWN']);
        await send('PATCH', `/v2/a/blobs/uploads/${id}`, [404], ['BLOB_UPLOAD_UNKNOWN']);
        await send('PUT', `/v2/a/blobs/uploads/${id}?digest=sha256:${hex}`, [404], ['BLOB_UPLOAD_UNKNOWN']);
        await send('DELETE', `/v2/a/blobs/uploads/${id}`, [404], ['BLOB_UPLOAD_UNKNOWN']);
      }
    }
    assert.equal(await stack.sql('select * from repository where name in ($1, $2)', ['..', 'UPPER']), []);
  },
  { timeoutMs: 90_000 },
);

const put = (reference: string, body: Buffer | string | Readable, type = imageManifestType) =>
  stack.client.request('PUT', `/v2/manifests/manifests/${reference}`, { body, headers: { 'content-type': type } });

test('manifests that are none', async () => {
  const cases: [string, Buffer | string][] = [
    ['garbage', 'this is not JSON'],
    ['cut', '{"schemaVersion": 2, "layers": ['],
    ['empty', ''],
    ['not UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
    ['a list', '[]'],
    ['null', 'null'],
    ['another version', '{"schemaVersion":1}'],
    ['a bad digest', '{"schemaVersion":2,"layers":[{"mediaType":"a/b","digest":"sha256:../..","size":1}]}'],
    ['a bad size', `{"schemaVersion":2,"layers":[{"mediaType":"a/b","digest":"sha256:${hex}","size":-1}]}`],
    ['another media type', '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json"}'],
    ['deep', '['.repeat(200_000)],
    ['NUL in an annotation', '{"schemaVersion":2,"annotations":{"a":"\\u0000"}}'],
    ['a name that is a megabyte long', JSON.stringify({ schemaVersion: 2, annotations: { ['a'.repeat(1e6)]: 1 } })],
    ['half of a pair in an annotation', '{"schemaVersion":2,"annotations":{"\\ud800":"a"}}'],
    [
      'layers of 2^64 bytes',
      JSON.stringify({
        schemaVersion: 2,
        layers: Array(2_048).fill({
          ...{ mediaType: 'a/b.foreign.c', digest: `sha256:${hex}`, size: Number.MAX_SAFE_INTEGER },
        }),
      }),
    ],
  ];
  for (const [what, body] of cases) {
    const answer = await put('v1', body);
    assert.is(answer.status, 400, what);
    assert.is(codeOf(answer), 'MANIFEST_INVALID', what);
    const { length } = JSON.parse(answer.body.toString()).errors[0].message;
    assert.ok(length > 10 && length < 1_000, `${what}: ${length} characters`);
  }
  assert.is((await put('v1', '{"schemaVersion":2}', 'not a media type')).status, 400);
});

test('manifests that many clients send slowly are bounded together, and what they held is free when they are gone', async () => {
  const { port, client } = await stack.startGateway();
  const head = `PUT /v2/manifests/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n`;
  const sockets = await Promise.all(
    Array.from({ length: 25 }, async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.resume();
      await new Promise(resolve => socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(3_990_000)]), resolve));
      return socket;
    }),
  );
  const one = () =>
    client.request('PUT', '/v2/manifests/manifests/v1', {
      body: Buffer.alloc(3_900_000, 'x'),
      headers: { 'content-type': imageManifestType },
    });
  let refused = await one();
  const isRefused = async () => {
    refused = await one();
    return refused.status === 429;
  };
  assert.ok(await until(isRefused, 20_000));
  assert.is(codeOf(refused), 'TOOMANYREQUESTS');
  for (const socket of sockets) socket.destroy();
  assert.ok(await until(async () => (await one()).status !== 429, 20_000));
  assert.is((await one()).status, 400);
});

test('Pushing Manifests: under a digest that is not its own, or is none', async () => {
  const body = '{"schemaVersion":2}';
  for (const digest of [digestOf(Buffer.from('other')), digestOf(Buffer.from('other'), 'sha512')]) {
    const answer = await put(digest, body);
    assert.is(answer.status, 400);
    assert.is(codeOf(answer), 'DIGEST_INVALID');
  }
  const malformed = await put('sha256:baddigeststring', body);
  assert.is(malformed.status, 400);
  assert.is(codeOf(malformed), 'DIGEST_INVALID');
});

test('Pushing Manifests: one whose blobs are missing', async () => {
  const [config, layer] = [digestOf(someBytes(2)), digestOf(someBytes(2))];
  const image = {
    schemaVersion: 2,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: 2 },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer, size: 2 }],
  };
  const answer = await put('v1', JSON.stringify(image));
  assert.is(answer.status, 404);
  assert.is(codeOf(answer), 'MANIFEST_BLOB_UNKNOWN');
  for (const digest of [config, layer]) assert.match(answer.body.toString(), digest);
  const lacking = Array.from({ length: 1_000 }, (_, size) => ({
    ...image.layers[0],
    digest: digestOf(someBytes(8)),
    size,
  }));
  const [error] = JSON.parse((await put('v1', JSON.stringify({ ...image, layers: lacking }))).body.toString()).errors;
  assert.match(error.message, /and 996 others/);
  assert.is(error.detail.digests.length, 1_001);
});

test('a manifest that is too large; one just below is taken', async () => {
  const large = Buffer.from(JSON.stringify({ schemaVersion: 2, annotations: { a: 'x'.repeat(MANIFEST_LIMIT) } }));
  for (const body of [large, Readable.from([large])]) {
    const answer = await put('v1', body);
    assert.is(answer.status, 413);
    assert.is(codeOf(answer), 'SIZE_INVALID');
  }
  const fits = Buffer.from(JSON.stringify({ schemaVersion: 2, annotations: { a: 'x'.repeat(MANIFEST_LIMIT - 60) } }));
  assert.is((await put('v1', fits)).status, 201);
  assert.is((await stack.client.request('DELETE', `/v2/manifests/manifests/${digestOf(fits)}`)).status, 202);
  // History of a tag is kept; for the check after this test it must go.
  await stack.sql('delete from tag');
});

test('bodies that are cut short', async () => {
  const manifest = '{"schemaVersion":2}';
  const blob = someBytes(1_000);
  const location = await begin(stack.client, 'cut');
  const requests: [string, string, string | Buffer][] = [
    ['PUT', '/v2/cut/manifests/v1', manifest],
    ['PUT', `/v2/cut/manifests/${digestOf(Buffer.from(manifest))}`, manifest],
    ['POST', `/v2/cut/blobs/uploads/?digest=${digestOf(blob)}`, blob],
    ['PUT', closing(location, digestOf(blob)), blob],
  ];
  for (const [method, path, body] of requests) {
    for (const framing of ['Content-Length', 'chunked']) {
      const connection = await RawConnection.open(stack.port);
      const length = Buffer.byteLength(body);
      if (framing === 'chunked') {
        connection.head(`${method} ${path} HTTP/1.1`, 'Host: x', 'Transfer-Encoding: chunked');
        await connection.write(`${length.toString(16)}\r\n`);
        await connection.write(body as Buffer);
        await connection.write('\r\n');
      } else {
        // The whole body is there, but the client said that more would come.
        connection.head(`${method} ${path} HTTP/1.1`, 'Host: x', `Content-Length: ${length + 1}`);
        await connection.write(body as Buffer);
      }
      await sleep(100);
      connection.close();
      await sleep(300);
    }
  }
  assert.is((await stack.client.request('GET', '/v2/cut/manifests/v1')).status, 404);
});

test('a refusal comes before the body: Expect is answered with it', async () => {
  const cases: [string, string, number][] = [
    ['PUT', '/v2/UPPER/manifests/v1', 400],
    ['PUT', `/v2/a/blobs/uploads/0b0f4b6c-9d0f-4d52-8f3a-6c3f1e1c2d3e?digest=sha256:${hex}`, 404],
    ['PATCH', '/v2/a/blobs/uploads/0b0f4b6c-9d0f-4d52-8f3a-6c3f1e1c2d3e', 404],
    ['POST', `/v2/a/blobs/uploads/?digest=sha256:${hex}`, 413],
  ];
  for (const [method, path, status] of cases) {
    const connection = await RawConnection.open(stack.port);
    connection.head(`${method} ${path} HTTP/1.1`, 'Host: x', 'Content-Length: 20000000', 'Expect: 100-continue');
    const answer = await connection.answer();
    assert.is(answer.status, status, path);
    assert.is(answer.headers.connection, 'close');
    connection.close();
  }
  const location = await begin(stack.client, 'expect');
  const connection = await RawConnection.open(stack.port);
  connection.head(`PATCH ${location} HTTP/1.1`, 'Host: x', 'Content-Length: 5', 'Expect: 100-continue');
  assert.is((await connection.answer()).status, 100);
  await connection.write('hello');
  assert.is((await connection.answer()).status, 202);
  connection.close();
});

test.run();
