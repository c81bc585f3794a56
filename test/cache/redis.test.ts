/** Redis is a cache: it saves work while it is there, and is not missed while it is not. */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import * as assert from 'uvu/assert';
import { imageIndexType } from '../support/images.js';
import { type OciClient, ociClient } from '../support/oci-client.js';
import { freePort } from '../support/ports.js';
import { type RedisServer, startRedis } from '../support/redis.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('manifests in Redis', { needs: ['redis-server'] });
/** Far more than a request needs, and far less than one that waits for Redis without a limit. */
const NOTICEABLE_MS = 5_000;

let stack: Stack;
let redis: RedisServer;
let us: OciClient;
let eu: OciClient;

test.before(async () => {
  // Gateways start while Redis is absent; the first test is about that.
  const port = await freePort();
  stack = await startStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu'],
    config: { USER_EVENTS_REDIS: { host: '127.0.0.1', port } },
  });
  [us, eu] = [ociClient(stack.us), ociClient(stack.eu)];
  for (const client of [us, eu]) atEnd(() => client.close());
  redis = { host: '127.0.0.1', port, pid: 0, kill: () => {}, stop: async () => {} };
});

/** Pushes a manifest that no gateway has seen; its digest. */
async function pushNew(client: OciClient, tag = 'latest'): Promise<string> {
  const annotations = { random: randomBytes(1_000).toString('hex') };
  const index = { schemaVersion: 2, mediaType: imageIndexType, manifests: [], annotations };
  return (await client.pushManifest('cached', tag, index)).digest;
}

/** Pushes through us and pulls through eu, by digest and by tag, several at a time; each request must be prompt. */
async function everythingIsPrompt(): Promise<void> {
  const timed = async <T>(what: string, work: Promise<T>): Promise<T> => {
    const begun = performance.now();
    const result = await work;
    const ms = performance.now() - begun;
    assert.ok(ms < NOTICEABLE_MS, `${what} took ${Math.round(ms)} ms`);
    return result;
  };
  for (let round = 0; round < 3; round++) {
    const tags = [1, 2, 3, 4].map(number => `prompt-${number}`);
    await Promise.all(
      tags.map(async tag => {
        const digest = await timed('push', pushNew(us, tag));
        assert.is((await timed('pull by digest', eu.pullManifest('cached', digest))).digest, digest);
        assert.is((await timed('pull by tag', eu.pullManifest('cached', tag))).digest, digest);
      }),
    );
  }
}

/** The same, and Redis has it: a gateway that found Redis too slow does without it for a moment. */
async function pushShared(tag?: string): Promise<string> {
  let digest = '';
  const isHeld = async () => {
    digest = await pushNew(us, tag);
    return until(() => holds(digest), 2_000);
  };
  assert.ok(await until(isHeld, 20_000));
  return digest;
}

/** Whether the gateways use Redis: what is pushed through us is found there by eu. */
async function isShared(): Promise<boolean> {
  const digest = await pushNew(us);
  // The gateway that pushed does not wait until Redis has it.
  if (!(await until(() => holds(digest), 2_000))) return false;
  // Counted from here: `holds` is a hit too. The two gateways find Redis again at different times.
  const before = await hits();
  assert.is((await eu.pullManifest('cached', digest)).digest, digest);
  return (await hits()) > before;
}

const hits = () =>
  onRedis(async client => Number(/^keyspace_hits:(\d+)/m.exec(await client.info('stats'))?.[1] ?? Number.NaN));
const keyOf = (digest: string) => `entrepot:manifest:${digest}`;
const holds = (digest: string) => onRedis(async client => (await client.exists(keyOf(digest))) === 1);

async function onRedis<T>(work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({ host: redis.host, port: redis.port, lazyConnect: true, retryStrategy: () => null });
  try {
    await client.connect();
    return await work(client);
  } finally {
    client.disconnect();
  }
}

test('absent from the start: everything works without it', everythingIsPrompt);

test('once it is there, it is used', async () => {
  redis = await startRedis(redis.port);
  assert.ok(await until(isShared, 15_000));
});

test('what one gateway pushed, another takes from Redis, and asks once', async () => {
  const asked = async () => {
    const digest = await pushShared();
    const before = await hits();
    const first = await eu.pullManifest('cached', digest);
    const once = (await hits()) - before;
    const second = await eu.pullManifest('cached', digest);
    assert.ok(first.bytes.equals(second.bytes));
    assert.is((await hits()) - before, once, 'the second time it has the bytes itself');
    return once === 1;
  };
  assert.ok(await until(asked, 20_000));
});

test('what one gateway pulled from the database, another takes from Redis', async () => {
  const isTaken = async () => {
    const digest = await pushShared('again');
    await onRedis(client => client.flushall());
    assert.is((await eu.pullManifest('cached', 'again')).digest, digest);
    return until(() => holds(digest), 2_000);
  };
  assert.ok(await until(isTaken, 20_000));
});

test('wrong bytes in Redis are never served', async () => {
  for (const poison of [Buffer.from('{"schemaVersion":2}'), Buffer.alloc(0), randomBytes(100_000)]) {
    const digest = await pushShared('poisoned');
    await onRedis(client => client.set(keyOf(digest), poison));
    assert.is((await eu.pullManifest('cached', digest)).digest, digest);
    const { bytes } = await eu.pullManifest('cached', 'poisoned');
    assert.is(JSON.parse(bytes.toString()).mediaType, imageIndexType);
  }
  const digest = await pushShared();
  await onRedis(async client => {
    await client.del(keyOf(digest));
    await client.lpush(keyOf(digest), 'not even a text');
  });
  assert.is((await eu.pullManifest('cached', digest)).digest, digest);
});

test('Deleting Manifests: what is deleted is gone at once from every gateway, although Redis and they have the bytes', async () => {
  const digest = await pushShared('deleted');
  assert.is((await eu.pullManifest('cached', 'deleted')).digest, digest);
  assert.is((await us.request('DELETE', `/v2/cached/manifests/${digest}`)).status, 202);
  assert.ok(await holds(digest), 'Redis has it still');
  for (const client of [us, eu]) {
    for (const reference of ['deleted', digest]) {
      assert.is((await client.request('GET', `/v2/cached/manifests/${reference}`)).status, 404);
    }
    assert.is((await client.request('GET', `/v2/other/manifests/${digest}`)).status, 404, 'nor elsewhere');
  }
});

test('killed: no request fails or waits; used again after its restart', async () => {
  redis.kill('SIGKILL');
  await everythingIsPrompt();
  await redis.stop();
  await everythingIsPrompt();
  redis = await startRedis(redis.port);
  assert.ok(await until(isShared, 15_000));
});

test('hung: no request fails or waits, nothing piles up; used again when it goes on', async () => {
  const gateways = [stack.part('gateway-us'), stack.part('gateway-eu')];
  const seen = gateways.map(gateway => gateway.log().length);
  const says = (text: string) => gateways.every((gateway, n) => gateway.log().slice(seen[n]).includes(text));
  redis.kill('SIGSTOP');
  try {
    await everythingIsPrompt();
    // Otherwise what is sent to it would be kept in memory for as long as it hangs.
    assert.ok(await until(() => says('Redis cannot be reached'), 10_000), 'the connection is given up');
    await everythingIsPrompt();
  } finally {
    redis.kill('SIGCONT');
  }
  assert.ok(await until(() => says('Redis is back'), 15_000));
  assert.ok(await until(isShared, 15_000));
});

test.run();
