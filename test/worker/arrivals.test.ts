/** The worker's smaller loops: queueing after a change of locations, finding what arrived unseen, telling it over Redis. */
import { Redis } from 'ioredis';
import * as assert from 'uvu/assert';
import { RedisCache } from '../../lib/cache/redis.js';
import type { ReplicationEvent } from '../../lib/metadata/events.js';
import { EventPublisher, type EventSink } from '../../worker/events/publisher.js';
import { RedisSink } from '../../worker/events/redis-sink.js';
import { EventSweep } from '../../worker/events/sweep.js';
import { Requeuing } from '../../worker/requeue/requeuing.js';
import { claimAll } from '../support/claims.js';
import { freshMetadata, type Metadata, quiet } from '../support/clients.js';
import { freePort } from '../support/ports.js';
import { startRedis } from '../support/redis.js';
import { imageOf, newRepository, pushed, put, putIn, queued, session } from '../support/rows.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: requirements and arrivals');
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
  await m.places.register(['apstorage']);
});

test('a change is queued at the start, and when it is told of another', async () => {
  const digest = await pushed(m, newRepository());
  await m.places.setDefaults(['usstorage', 'apstorage'], true);
  let told = 0;
  const onQueued = () => told++;
  const requeuing = new Requeuing({ requeue: m.requeue, replicate: true, onQueued, pollMs: 600_000, log: quiet });
  try {
    assert.ok(await until(async () => (await queued(m, digest)).join() === 'apstorage', 20_000));
    assert.ok(told > 0);
    await m.places.setDefaults(['usstorage', 'eustorage'], true);
    requeuing.wake();
    assert.ok(await until(async () => (await queued(m, digest)).join() === 'eustorage', 20_000));
  } finally {
    await requeuing.close();
  }
});

test('an image that became whole unseen is found', async () => {
  const repo = newRepository();
  const image = imageOf([await pushed(m, repo)]);
  const [job] = await claimAll(m.replication, 'eustorage').then(jobs =>
    jobs.filter(each => each.digest === image.facts.blobs[0]),
  );
  const pusher = await session(m);
  await pusher.query('begin');
  await putIn(pusher, repo, image, 'v1');
  assert.is((await m.replication.complete(job ? [job] : [])).length, 1);
  await pusher.query('commit');
  const arrived = async () =>
    (await m.events.after(0, 1_000)).filter(event => event.digest === image.digest && event.location === 'eustorage');
  assert.equal(await arrived(), []);
  const sweep = new EventSweep(m.events, quiet);
  assert.ok(await until(async () => (await arrived()).length === 1, 20_000));
  await sweep.close();
});

/** Pushes an image that is whole in us. */
async function arrival(): Promise<string> {
  const repo = newRepository();
  const image = imageOf([await pushed(m, repo)]);
  await put(m, repo, image, 'v1');
  return image.digest;
}
const unpublished = async () =>
  Number((await m.db.query('select count(*)::int as n from replicationevent where published_at is null'))[0]?.n);

test('each event is told once by several workers; what is not taken is told later', async () => {
  const digests = [await arrival(), await arrival(), await arrival()];
  const told: string[] = [];
  let refuse = 1;
  const sink: EventSink = {
    async publish(event: ReplicationEvent) {
      if (refuse-- > 0) return false;
      told.push(event.digest);
      return true;
    },
  };
  const publishers = [1, 2, 3].map(
    () => new EventPublisher({ events: m.events, locations: ['usstorage', 'eustorage'], sink, log: quiet }),
  );
  assert.ok(await until(() => refuse <= 0, 20_000));
  // What was refused is in nobody's hands after ten seconds; the test does not wait for that.
  await m.db.query('update replicationevent set taken_until = now() where published_at is null');
  assert.ok(await until(async () => (await unpublished()) === 0, 10_000));
  await Promise.all(publishers.map(each => each.close()));
  assert.equal(told.filter(digest => digests.includes(digest)).sort(), digests.sort());
});

test(
  'over Redis, which is not there at first',
  async () => {
    const port = await freePort();
    const cache = new RedisCache(
      { host: '127.0.0.1', port, username: undefined, password: undefined, db: 0, tls: undefined },
      quiet,
    );
    atEnd(() => cache.close());
    const sink = new RedisSink(cache);
    await arrival();
    const [event] = await m.events.take(['usstorage'], 1);
    if (!event) throw new Error('an image has arrived');
    assert.is(await sink.publish(event), false);
    await startRedis(port);
    const listener = new Redis({ host: '127.0.0.1', port });
    atEnd(() => listener.disconnect());
    const heard: unknown[] = [];
    listener.on('message', (_channel, text) => heard.push(JSON.parse(text)));
    await listener.subscribe('entrepot:events');
    assert.ok(await until(() => sink.publish(event), 10_000));
    assert.ok(await until(() => heard.length > 0, 20_000));
    assert.equal(heard[0], { event: 'image-arrived', ...event });
  },
  { needs: ['redis-server'] },
);

test.run();
