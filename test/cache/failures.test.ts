/** Failures are counted in Redis for all gateways of a region, and in the process while that is away. */
import * as assert from 'uvu/assert';
import { type Counted, Failures } from '../../lib/cache/failures.js';
import { RedisCache } from '../../lib/cache/redis.js';
import { quiet } from '../support/clients.js';
import { startRedis } from '../support/redis.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('failures in Redis', { needs: ['redis-server'] });

const counted = (key: string): Counted[] => [{ key, policy: { free: 2, firstMs: 4_000, mostMs: 6_000 } }];

test('two gateways count together; each by itself while Redis is away', async () => {
  const redis = await startRedis();
  const open = () => {
    const { port } = redis;
    const config = { host: redis.host, port, username: undefined, password: undefined, db: 0, tls: undefined };
    // Redis may be slow on a crowded machine; nothing here is about how fast it is.
    const cache = new RedisCache(config, quiet, { timeoutMs: 5_000 });
    atEnd(() => cache.close());
    return { cache, failures: new Failures(cache) };
  };
  const [one, two] = [open(), open()];
  for (const { cache } of [one, two]) {
    assert.ok(await until(async () => (await cache.run('return 1', [])) === 1, 10_000));
  }
  const wait = async ({ failures }: typeof one, key: string) => (await failures.waits([key]))[0] ?? 0;

  await one.failures.add(counted('a'));
  await two.failures.add(counted('a'));
  assert.is(await wait(one, 'a'), 0);
  await one.failures.add(counted('a'));
  for (const each of [one, two]) {
    const ms = await wait(each, 'a');
    assert.ok(ms > 1_000 && ms <= 4_000, `${ms}`);
  }
  assert.equal(two.failures.waitsHere(['a']), [0], 'this one knows it from Redis only');
  await two.failures.add(counted('a'));
  const longer = await wait(one, 'a');
  assert.ok(longer > 4_000 && longer <= 6_000, `${longer}`);
  assert.is(await wait(two, 'b'), 0);
  await two.failures.forget('a');
  await one.failures.forget('a');
  assert.is(await wait(one, 'a'), 0);

  await redis.stop();
  for (let n = 0; n < 3; n++) await one.failures.add(counted('c'));
  assert.ok((await wait(one, 'c')) > 1_000);
  assert.is(await wait(two, 'c'), 0);
});

test.run();
