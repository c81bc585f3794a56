/** Pushing blobs: every way that the specification has, and what happens when a client goes away in the middle. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Locations } from '../../lib/locations/locations.js';
import { UploadExpiry } from '../../worker/expire-uploads/expire-uploads.js';
import { openMetadata, quiet } from '../support/clients.js';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { begin, closing, codeOf, digestOf, someBytes, waysToPush } from '../support/pushes.js';
import { RawConnection } from '../support/raw-http.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('gateway uploads');
let stack: GatewayStack;

test.before(async () => {
  stack = await startGatewayStack();
});

const UUID = /\/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\?|$)/;

for (const [way, push] of Object.entries(waysToPush)) {
  for (const algorithm of ['sha256', 'sha512']) {
    test(`Pushing blobs: ${way}, ${algorithm}, of no byte and of megabytes`, async () => {
      for (const size of [0, 1, 2, 100_000, 3_000_000]) {
        const bytes = someBytes(size);
        const digest = digestOf(bytes, algorithm);
        const answer = await push(stack.client, 'some/repo', bytes, digest);
        assert.is(answer.status, 201, `${size}: ${answer.body}`);
        assert.is(answer.headers['docker-content-digest'], digest);
        assert.is(answer.headers['content-length'], '0');
        const pulled = await stack.client.request('GET', answer.headers.location ?? '');
        assert.is(pulled.status, 200);
        assert.is(pulled.headers['docker-content-digest'], digest);
        assert.ok(pulled.body.equals(bytes));
      }
    });
  }
}

test('Pushing blobs: digest-algorithm is a hint, and another digest closes the upload as well', async () => {
  for (const [hint, algorithm] of [
    ['sha512', 'sha256'],
    ['sha256', 'sha512'],
  ] as const) {
    for (const size of [0, 100_000]) {
      const bytes = someBytes(size);
      const digest = digestOf(bytes, algorithm);
      const location = await begin(stack.client, 'hint', `?digest-algorithm=${hint}`);
      const patched = await stack.client.request('PATCH', location, { body: bytes });
      const put = await stack.client.request('PUT', closing(patched.headers.location, digest));
      assert.is(put.status, 201, put.body.toString());
      assert.ok((await stack.client.pullBlob('hint', digest)).equals(bytes));
    }
  }
});

test('afterwards nothing of an upload is left', async () => {
  assert.equal(await stack.sql('select * from blobupload'), []);
  assert.equal((await stack.stored()).uploads, []);
});

test('Pushing a blob in chunks: an upload tells where it is, and has a UUID', async () => {
  const begun = await stack.client.request('POST', '/v2/status/blobs/uploads/');
  assert.is(begun.status, 202);
  assert.match(begun.headers.location ?? '', UUID);
  assert.is(begun.headers.range, '0-0');
  const location = begun.headers.location ?? '';
  const empty = await stack.client.request('GET', location);
  assert.is(empty.status, 204);
  assert.is(empty.headers.range, '0-0');

  const patched = await stack.client.request('PATCH', location, { body: Buffer.alloc(1_000) });
  assert.is(patched.status, 202);
  assert.is(patched.headers.range, '0-999');
  const at = await stack.client.request('GET', patched.headers.location ?? '');
  assert.is(at.headers.range, '0-999');
  assert.match(at.headers.location ?? '', UUID);
  assert.is(at.body.length, 0);
});

test('Cancel a blob upload: it is gone', async () => {
  const location = await begin(stack.client, 'cancel');
  await stack.client.request('PATCH', location, { body: someBytes(100_000) });
  const cancelled = await stack.client.request('DELETE', location);
  assert.is(cancelled.status, 204);
  for (const method of ['GET', 'PATCH', 'DELETE']) {
    const answer = await stack.client.request(method, location);
    assert.is(answer.status, 404, method);
    assert.is(codeOf(answer), 'BLOB_UPLOAD_UNKNOWN');
  }
});

test('Cancel a blob upload: one that nobody goes on with is ended, and what it held is freed', async () => {
  const locations = new Locations({
    locations: [{ name: 'usstorage', nodes: [`127.0.0.1:${stack.proxyPorts.usstorage}`] }],
    preference: ['usstorage'],
    identify: async () => true,
    log: quiet,
  });
  atEnd(() => locations.close());
  await locations.settle(5_000);
  const { uploads: before } = await stack.stored();
  const [idle, busy] = [await begin(stack.client, 'idle'), await begin(stack.client, 'idle')];
  for (const location of [idle, busy]) await stack.client.request('PATCH', location, { body: someBytes(10_000) });
  const [, uuid] = /uploads\/([^?]+)/.exec(idle) ?? [];
  await stack.sql(`update blobupload set updated_at = now() - interval '61 minutes' where uuid = $1`, [uuid]);
  const { uploads } = openMetadata(stack.databaseUrl);
  const expiry = new UploadExpiry(uploads, locations, 60, quiet);
  const isGone = async () => (await stack.client.request('GET', idle)).status === 404;
  assert.ok(await until(isGone, 20_000));
  await expiry.close();
  assert.is((await stack.client.request('GET', busy)).status, 204);
  assert.is((await stack.client.request('DELETE', busy)).status, 204);
  assert.equal((await stack.stored()).uploads, before);
});

test('a closing PUT that is repeated gets the same answer, at any gateway', async () => {
  const other = await stack.startGateway();
  const { uploads: before } = await stack.stored();
  const bytes = someBytes(50_000);
  const digest = digestOf(bytes);
  const patched = await stack.client.request('PATCH', await begin(stack.client, 'again'), { body: bytes });
  const put = (client = stack.client, wanted = digest) =>
    client.request('PUT', closing(patched.headers.location, wanted));
  const answers = await Promise.all([put(), put(), put(other.client), put(other.client)]);
  answers.push(await put(), await put(other.client));
  for (const { status, headers, body } of answers) {
    assert.is(status, 201, body.toString());
    assert.is(headers.location, `/v2/again/blobs/${digest}`);
    assert.is(headers['docker-content-digest'], digest);
  }
  assert.equal((await stack.stored()).uploads, before);

  const unknown = [
    // The repository has no such blob.
    await put(stack.client, digestOf(someBytes(10))),
    // Bytes that nobody has looked at.
    await stack.client.request('PUT', closing(patched.headers.location, digest), { body: bytes }),
  ];
  await stack.client.request('DELETE', `/v2/again/blobs/${digest}`);
  unknown.push(await put());
  for (const answer of unknown) {
    assert.is(answer.status, 404);
    assert.is(codeOf(answer), 'BLOB_UPLOAD_UNKNOWN');
  }
});

test('Mounting a blob: from one repository or from any; what cannot be mounted begins an upload', async () => {
  const bytes = someBytes(1_000);
  const digest = await stack.client.pushBlob('mount/from', bytes);
  const mount = (query: string) => stack.client.request('POST', `/v2/mount/to${query.length}/blobs/uploads/?${query}`);
  const hit = await mount(`mount=${digest}&from=mount/from`);
  assert.is(hit.status, 201);
  assert.is(hit.headers['docker-content-digest'], digest);
  assert.ok((await stack.client.request('GET', hit.headers.location ?? '')).body.equals(bytes));
  const anonymous = await mount(`mount=${digest}`);
  assert.is(anonymous.status, 201);

  const misses = [
    `mount=${digest}&from=mount/elsewhere`,
    `mount=${digestOf(someBytes(3))}&from=mount/from`,
    `mount=${digestOf(someBytes(3))}`,
    'mount=sha256:bad&from=mount/from',
    `mount=${digest}&from=../mount/from`,
    'mount=',
  ];
  for (const query of misses) {
    const answer = await mount(query);
    assert.is(answer.status, 202, query);
    assert.match(answer.headers.location ?? '', UUID);
  }
});

/** Whether a request writes to an upload of this repository now. */
const isBeingWritten = async (repository: string) => {
  const writers = await stack.sql(
    'select 1 from blobupload b join repository r on r.id = b.repository_id where r.name = $1 and b.writer is not null',
    [repository],
  );
  return writers.length > 0;
};

test('a client that goes away in the middle of a PATCH goes on where its bytes ended', async () => {
  const bytes = someBytes(2_000_000);
  const location = await begin(stack.client, 'resume');
  const connection = await RawConnection.open(stack.port);
  connection.head(`PATCH ${location} HTTP/1.1`, 'Host: x', `Content-Length: ${bytes.length}`);
  await connection.write(bytes.subarray(0, 1_200_000));
  assert.ok(await until(() => isBeingWritten('resume'), 20_000));
  const busy = await stack.client.request('PATCH', location, { body: 'x' });
  assert.is(busy.status, 409);
  assert.is(codeOf(busy), 'BLOB_UPLOAD_INVALID');
  assert.ok(Number(busy.headers['retry-after']) > 0);
  connection.close();

  assert.ok(await until(async () => !(await isBeingWritten('resume')), 20_000));
  const status = await stack.client.request('GET', location);
  const have = Number(status.headers.range?.split('-')[1]) + 1;
  assert.ok(have > 1 && have <= 1_200_000, `${have}`);
  const rest = await stack.client.request('PATCH', status.headers.location ?? '', {
    body: bytes.subarray(have),
    headers: { 'content-range': `${have}-${bytes.length - 1}` },
  });
  assert.is(rest.status, 202, rest.body.toString());
  const digest = digestOf(bytes);
  const put = await stack.client.request('PUT', closing(rest.headers.location, digest));
  assert.is(put.status, 201, put.body.toString());
  assert.ok((await stack.client.pullBlob('resume', digest)).equals(bytes));
});

test('Cancel a blob upload: that stops the one who writes', async () => {
  const location = await begin(stack.client, 'stop');
  const connection = await RawConnection.open(stack.port);
  connection.head(`PATCH ${location} HTTP/1.1`, 'Host: x', 'Content-Length: 1000000');
  await connection.write(someBytes(100_000));
  assert.ok(await until(() => isBeingWritten('stop'), 20_000));
  assert.is((await stack.client.request('DELETE', location)).status, 204);
  const answer = await connection.answer();
  assert.is(answer.status, 409);
  assert.is(codeOf(answer), 'BLOB_UPLOAD_INVALID');
  connection.close();
});

test('a slow client keeps its upload beyond the lease', async () => {
  const location = await begin(stack.client, 'slow');
  const connection = await RawConnection.open(stack.port);
  connection.head(`PATCH ${location} HTTP/1.1`, 'Host: x', 'Content-Length: 10');
  await connection.write('01234');
  await sleep(16_000);
  assert.is((await stack.client.request('PATCH', location, { body: 'x' })).status, 409);
  await connection.write('56789');
  assert.is((await connection.answer()).status, 202);
  connection.close();
});

test('one upload through two gateways, whichever Location the client uses', async () => {
  const other = await stack.startGateway();
  const [a, b] = [stack.client, other.client];
  for (const keepFirstLocation of [false, true]) {
    const bytes = someBytes(30_000);
    const digest = digestOf(bytes);
    const first = await begin(a, 'both');
    const one = await a.request('PATCH', first, { body: bytes.subarray(0, 10_000) });
    const two = await b.request('PATCH', keepFirstLocation ? first : (one.headers.location ?? ''), {
      body: bytes.subarray(10_000),
    });
    assert.is(two.headers.range, '0-29999');
    const put = await a.request('PUT', closing(keepFirstLocation ? first : two.headers.location, digest));
    assert.is(put.status, 201, put.body.toString());
    assert.ok((await b.pullBlob('both', digest)).equals(bytes));
  }
});

test.run();
