/** Where things go: a namespace that is kept in one region only, and the news that an image has arrived in both. */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import * as assert from 'uvu/assert';
import { openMetadata } from '../support/clients.js';
import { type OciClient, ociClient, sha256 } from '../support/oci-client.js';
import { freePort } from '../support/ports.js';
import { startRedis } from '../support/redis.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('two regions: where things go', { needs: ['redis-server'], timeoutMs: 60_000 });
let stack: Stack;
let us: OciClient;
let eu: OciClient;
let redisPort: number;

test.before(async () => {
  redisPort = await freePort();
  stack = await startStack({ config: { USER_EVENTS_REDIS: { host: '127.0.0.1', port: redisPort } } });
  [us, eu] = [ociClient(stack.us), ociClient(stack.eu)];
  for (const client of [us, eu]) atEnd(() => client.close());
  await openMetadata(stack.databaseUrl).namespaces.setLocations('resident', {
    locations: ['eustorage'],
    replace: true,
  });
});

/** Every way to push a blob, through us. */
async function pushed(repository: string): Promise<string[]> {
  const digests = [await us.pushBlob(repository, randomBytes(2_000_000))];
  for (let n = 0; n < 2; n++) {
    const body = randomBytes(10_000);
    digests.push(sha256(body));
    const path = `/v2/${repository}/blobs/uploads/?digest=${sha256(body)}`;
    assert.is((await us.request('POST', path, { body })).status, 201);
  }
  return digests;
}

test('a namespace kept in eu only, pushed through us: every byte is in eu, and none in us', async () => {
  const digests = await pushed('resident/app');
  const { digest, layers, config } = await us.pushImage('resident/app', 'v1', [randomBytes(5_000), randomBytes(100)]);
  const all = [...digests, ...layers, config];
  assert.is((await us.pullManifest('resident/app', 'v1')).digest, digest);
  for (const each of all) assert.is(sha256(await us.pullBlob('resident/app', each)), each);
  await stack.replicated();
  const [inUs, inEu] = [await stack.blobsOf('usstorage'), await stack.blobsOf('eustorage')];
  assert.equal(
    all.filter(each => !inEu.includes(each)),
    [],
  );
  assert.equal(
    all.filter(each => inUs.includes(each)),
    [],
  );
});

test('mounted into it from elsewhere, a blob goes where it is kept, and stays where it was', async () => {
  await stack.kill('worker-eu');
  const blob = await us.pushBlob('plain/app', randomBytes(3_000));
  await stack.sql('delete from replication');
  const path = `/v2/resident/other/blobs/uploads/?mount=${blob}&from=plain/app`;
  assert.is((await us.request('POST', path)).status, 201);
  await stack.start('worker-eu');
  await stack.replicated();
  assert.ok((await stack.blobsOf('eustorage')).includes(blob));
});

test('an upload that was begun before the namespace moved is ended, and records nothing; the next push goes there', async () => {
  const repository = 'moving/app';
  const [half, rest] = [randomBytes(1_000), randomBytes(500)];
  const digest = sha256(Buffer.concat([half, rest]));
  const begin = async () => {
    const { headers } = await us.request('POST', `/v2/${repository}/blobs/uploads/`);
    const patched = await us.request('PATCH', String(headers.location), { body: half });
    assert.is(patched.status, 202);
    return String(patched.headers.location);
  };
  const closing = (place: string, of: Buffer) => `${place}${place.includes('?') ? '&' : '?'}digest=${sha256(of)}`;
  const [complete, withRest, toPatch] = [await begin(), await begin(), await begin()];
  await openMetadata(stack.databaseUrl).namespaces.setLocations('moving', { locations: ['eustorage'], replace: true });
  const answers = [
    await us.request('PUT', closing(complete, half)),
    await us.request('PUT', closing(withRest, Buffer.concat([half, rest])), { body: rest }),
    await us.request('PATCH', toPatch, { body: rest }),
  ];
  for (const { status, body } of answers) {
    assert.is(status, 404);
    assert.match(body.toString(), /has come to be kept in other locations/);
  }
  assert.equal(await stack.sql('select uuid from blobupload'), []);
  assert.not((await stack.blobsOf('usstorage')).includes(digest));
  assert.is(await us.pushBlob(repository, Buffer.concat([half, rest])), digest);
  await stack.replicated();
  const places = `select l.name, s.content_checksum as digest from imagestorageplacement p
    join imagestorage s on s.id = p.storage_id join imagestoragelocation l on l.id = p.location_id
    where s.content_checksum in ($1, $2)`;
  assert.equal(await stack.sql(places, [digest, sha256(half)]), [{ name: 'eustorage', digest }]);
});

test('its region is away: 503 that says why, also for a gateway that has just heard of it; nothing goes elsewhere', async () => {
  await stack.kill('storage-proxy-eu');
  const before = await stack.blobsOf('usstorage');
  const body = randomBytes(1_000);
  for (const path of ['/v2/resident/away/blobs/uploads/', `/v2/resident/away/blobs/uploads/?digest=${sha256(body)}`]) {
    const answer = await us.request('POST', path, { body });
    assert.is(answer.status, 503);
    assert.match(answer.body.toString(), /this namespace is kept in \(eustorage\)/);
    assert.ok(Number(answer.headers['retry-after']) > 0);
  }
  assert.equal(await stack.blobsOf('usstorage'), before);
  await us.pushBlob('plain/app', body);
  await stack.start('storage-proxy-eu');
  assert.ok(
    await until(async () => (await us.request('POST', '/v2/resident/away/blobs/uploads/')).status === 202, 20_000),
  );
});

test('an event for each location arrives over Redis, also of what was pushed while Redis was away', async () => {
  const missed = await us.pushImage('news/app', 'v0', [randomBytes(1_000)]);
  await stack.replicated();
  await startRedis(redisPort);
  const listener = new Redis({ host: '127.0.0.1', port: redisPort });
  atEnd(() => listener.disconnect());
  const heard: Record<string, unknown>[] = [];
  listener.on('message', (_channel, text) => heard.push(JSON.parse(text)));
  await listener.subscribe('entrepot:events');
  const image = await us.pushImage('news/app', 'v1', [randomBytes(1_000), randomBytes(1_500_000)]);
  const of = (digest: string) => heard.filter(event => event.digest === digest);
  assert.ok(await until(() => of(image.digest).length >= 2 && of(missed.digest).length >= 2, 25_000));
  const { id, lagMs, pushedAt, completedAt, ...rest } =
    of(image.digest).find(event => event.location === 'eustorage') ?? {};
  assert.equal(rest, {
    event: 'image-arrived',
    namespace: 'news',
    repository: 'app',
    tag: 'v1',
    digest: image.digest,
    location: 'eustorage',
  });
  assert.type(id, 'number');
  assert.type(lagMs, 'number');
  for (const time of [pushedAt, completedAt]) assert.ok(Date.parse(String(time)) > 0);
  assert.ok(await until(async () => (await unpublished()) === 0, 10_000));
});

async function unpublished(): Promise<number> {
  return (await stack.sql('select 1 from replicationevent where published_at is null')).length;
}

test.run();
