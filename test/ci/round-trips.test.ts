/**
 * How many round trips over the long link stand one behind the other when many small blobs are copied.
 *
 * Not by the clock: everything that crosses the link (each statement, each call to the source) is held back once it is
 * done, until nothing else can get on without it, and then all that is held is let go at once. Each time that happens is
 * one round trip that the whole copy waited for; with a link of any length, so many times its length is what it adds.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { Location } from '../../lib/locations/location.js';
import { digestOf } from '../../lib/oci/digest.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { Crossings } from '../../worker/crossing/crossings.js';
import { Replicator } from '../../worker/replicate/replicator.js';
import { Throttle } from '../../worker/replicate/throttle.js';
import { blobFile } from '../support/blob-file.js';
import { openLocations, openMetadata, quiet } from '../support/clients.js';
import { startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('worker: round trips', { timeoutMs: 110_000 });

/** What a link does to the order of things, without its length. */
class Link {
  /** Round trips that everything waited for. */
  roundTrips = 0;
  /** Calls over the link, however many at a time. */
  calls = 0;
  /** What is under way, on either side, and not held back. */
  #busy = 0;
  #held: (() => void)[] = [];
  #changes = 0;

  /** The object with its methods made calls over the link. */
  far<T extends object>(object: T): T {
    return this.#wrap(object, async work => {
      this.calls++;
      const result = await this.#counted(work);
      await new Promise<void>(resolve => this.#held.push(resolve));
      return result;
    });
  }

  /** The object with its methods watched: while one runs, things get on by themselves. */
  near<T extends object>(object: T): T {
    return this.#wrap(object, work => this.#counted(work));
  }

  /** Lets go what is held, whenever nothing else moves, until `isOver`. */
  async runUntil(isOver: () => Promise<boolean>): Promise<void> {
    while (!(await isOver())) {
      const before = this.#changes;
      // Also what sleeps for a moment before it goes on, like the loop that claims.
      await sleep(60);
      if (this.#busy > 0 || this.#changes !== before || this.#held.length === 0) continue;
      this.roundTrips++;
      for (const letGo of this.#held.splice(0)) letGo();
    }
    this.end();
  }

  end(): void {
    this.#wrapped = work => work();
    for (const letGo of this.#held.splice(0)) letGo();
  }

  async #counted<R>(work: () => Promise<R>): Promise<R> {
    this.#busy++;
    this.#changes++;
    try {
      return await work();
    } finally {
      this.#busy--;
      this.#changes++;
    }
  }

  #wrapped: <R>(work: () => Promise<R>) => Promise<R> | undefined = () => undefined;

  #wrap<T extends object>(object: T, around: <R>(work: () => Promise<R>) => Promise<R>): T {
    return new Proxy(object, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...parameters: unknown[]) => {
          const work = () => Reflect.apply(value, target, parameters) as Promise<unknown>;
          return this.#wrapped(work) ?? around(work);
        };
      },
    });
  }
}

/** Bytes of each blob. */
const SIZE = 4_096;

test('5,000 blobs of 4 KiB wait for at most ten round trips', async () => {
  const stack = await startStack({ parts: ['storage-proxy-us', 'storage-proxy-eu'] });
  const metadata = openMetadata(stack.databaseUrl);
  await metadata.places.register(['usstorage', 'eustorage']);
  const locations = openLocations(stack, ['eustorage', 'usstorage']);
  const blobs = Array.from({ length: 5_000 }, () => randomBytes(SIZE)).map(data => ({ data, digest: digestOf(data) }));
  const source = locations.get('usstorage');
  const target = locations.get('eustorage');
  if (!source || !target) throw new Error('no locations');
  for (const { data, digest } of blobs) {
    const file = blobFile(stack.storagePath('usstorage'), digest);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, data);
  }
  await stack.sql(
    `with blob as (insert into imagestorage (content_checksum, image_size) select unnest($1::text[]), ${SIZE} returning id),
          placed as (insert into imagestorageplacement (storage_id, location_id, verified_at)
                     select blob.id, l.id, now() from blob, imagestoragelocation l where l.name = 'usstorage')
     insert into replication (storage_id, location_id)
     select blob.id, l.id from blob, imagestoragelocation l where l.name = 'eustorage'`,
    [blobs.map(({ digest }) => digest)],
  );

  const link = new Link();
  watch(source, link.far(source.store));
  watch(target, link.near(target.store));
  const crossings = new Crossings();
  atEnd(() => crossings.close());
  const replicator = new Replicator({
    replication: link.far(metadata.replication),
    locations,
    roster: { targets: [{ name: 'eustorage', slots: undefined, throttle: new Throttle() }], paused: [] },
    concurrency: 8,
    crossings,
    metrics: new WorkerMetrics('worker', 'test'),
    log: quiet,
  });
  await link.runUntil(async () => (await stack.sql('select 1 from replication limit 1')).length === 0);
  await replicator.stop();
  console.log(`${link.roundTrips} round trips behind one another, ${link.calls} calls`);
  assert.is((await stack.blobsOf('eustorage')).length, blobs.length);
  assert.ok(link.calls >= 20, 'the calls went over the link');
  assert.ok(link.roundTrips >= 3, 'a claim, a reading and the record of it cannot be had at once');
  assert.ok(link.roundTrips <= 10, `${link.roundTrips} round trips`);
});

function watch(location: Location, store: Location['store']): void {
  Object.defineProperty(location, 'store', { value: store });
}

test.run();
