/** Which node and location a call goes to, when some of them are wrong, dead, or stopped. */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import { Locations } from '../../lib/locations/locations.js';
import { BlobUnavailable, readBlob } from '../../lib/locations/read.js';
import { beginUpload, NoLocationWritable } from '../../lib/locations/upload.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { openLocations, quiet } from '../support/clients.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('locations: fail-over', { timeoutMs: 40_000 });
const bytes = randomBytes(64_000_000);
const digest = digestOf(bytes);
let stack: Stack;
let locations: Locations;

test.before(async () => {
  stack = await startStack({ parts: ['storage-proxy-us', 'storage-proxy-eu'] });
  locations = openLocations(stack);
  for (const location of locations.all) {
    const begun = await location.store.begin({ digest });
    const last = await location.store.append(begun.session, once(bytes), () => {});
    await location.store.commit(last.session, digest);
  }
});
test.before.each(async () => {
  for (const name of ['storage-proxy-us', 'storage-proxy-eu'] as const) {
    await Promise.resolve()
      .then(() => stack.part(name))
      .catch(() => stack.start(name));
  }
  assert.ok(await until(() => locations.all.every(each => each.serves('read')), 20_000));
});

async function* once(whole: Buffer): AsyncGenerator<Buffer> {
  yield whole;
}
function open(from: Locations = locations, wanted: Digest = digest) {
  const range = { offset: 0, length: bytes.length };
  return readBlob({
    locations: from,
    digest: wanted,
    size: bytes.length,
    holders: ['usstorage', 'eustorage'],
    range,
    context: {},
  });
}

test('the first of the preference is read, whatever the order of the holders', async () => {
  assert.is((await open()).location, 'usstorage');
  assert.is((await open(openLocations(stack, ['eustorage', 'usstorage']))).location, 'eustorage');
});

test('a node that serves another location is refused, and the message says what to mend', async () => {
  const address = (name: 'storage-proxy-us' | 'storage-proxy-eu') => `127.0.0.1:${stack.ports[name]}`;
  const crossed = new Locations({
    locations: [{ name: 'usstorage', nodes: [address('storage-proxy-eu')] }],
    preference: ['usstorage'],
    identify: async () => true,
    log: quiet,
  });
  atEnd(() => crossed.close());
  try {
    await open(crossed);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, BlobUnavailable);
    assert.match(String(error), 'serves eustorage, not usstorage: see ENTREPOT_LOCATIONS');
  }
});

test('a node whose store is not the one on record is refused', async () => {
  const strangers = new Locations({
    locations: [{ name: 'usstorage', nodes: [`127.0.0.1:${stack.ports['storage-proxy-us']}`] }],
    preference: ['usstorage'],
    identify: async () => false,
    log: quiet,
  });
  atEnd(() => strangers.close());
  try {
    await beginUpload(strangers, {}, {});
    assert.unreachable();
  } catch (error) {
    assert.instance(error, NoLocationWritable);
    assert.match(String(error), 'not the one that usstorage was kept in before');
  }
});

test('a location that is dead: reads and new uploads go to the next', async () => {
  await stack.kill('storage-proxy-us');
  assert.is((await open()).location, 'eustorage');
  assert.is((await beginUpload(locations, {}, {})).location.name, 'eustorage');
});

test('a location that is stopped: the first byte comes from the next within seconds', async () => {
  const process = stack.part('storage-proxy-us');
  process.kill('SIGSTOP');
  try {
    const began = Date.now();
    assert.is((await open()).location, 'eustorage');
    assert.ok(Date.now() - began < 15_000, 'took too long');
  } finally {
    process.kill('SIGCONT');
  }
});

test('a blob that moves while it is read: the reader goes on where it is now', async () => {
  let asked = 0;
  const { bytes: stream } = await readBlob({
    ...{ locations, digest, size: bytes.length, range: { offset: 0, length: bytes.length }, context: {} },
    holders: ['usstorage'],
    holdersNow: async () => {
      asked++;
      return ['eustorage'];
    },
  });
  const pieces: Buffer[] = [];
  for await (const piece of stream) {
    if (pieces.length === 0) await stack.kill('storage-proxy-us');
    pieces.push(piece);
  }
  assert.ok(Buffer.concat(pieces).equals(bytes));
  assert.ok(asked > 0);
});

test('a location that dies in the middle of a blob: the reader gets every byte all the same', async () => {
  const { location, bytes: body } = await open();
  assert.is(location, 'usstorage');
  const got: Buffer[] = [];
  let size = 0;
  for await (const piece of body) {
    got.push(piece);
    size += piece.length;
    if (size > 5_000_000 && got.length > 0 && size - piece.length <= 5_000_000) await stack.kill('storage-proxy-us');
  }
  assert.is(digestOf(Buffer.concat(got)), digest);
});

test('every location dead: a clear error soon, and reading works again by itself', async () => {
  await stack.kill('storage-proxy-us');
  await stack.kill('storage-proxy-eu');
  const began = Date.now();
  const failure = await open().then(
    () => undefined,
    error => error,
  );
  assert.instance(failure, BlobUnavailable);
  assert.match(String(failure), 'usstorage');
  assert.match(String(failure), 'eustorage');
  assert.ok(Date.now() - began < 15_000, 'took too long');
  await stack.start('storage-proxy-eu');
  assert.ok(await until(() => locations.get('eustorage')?.serves('read') ?? false, 20_000));
  assert.is((await open()).location, 'eustorage');
});

test.run();
