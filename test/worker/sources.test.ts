/** Which source a copy is made from: by health, then by preference, among those that have a slot for it. */
import * as assert from 'uvu/assert';
import { Location } from '../../lib/locations/location.js';
import { Locations } from '../../lib/locations/locations.js';
import type { Need } from '../../lib/locations/store.js';
import type { Job } from '../../lib/metadata/replication.js';
import { digestOf } from '../../lib/oci/digest.js';
import { SMALL_BLOB_BYTES } from '../../worker/replicate/batch.js';
import type { HeldJob } from '../../worker/replicate/leases.js';
import { Slots } from '../../worker/replicate/slots.js';
import { divide, inOrder } from '../../worker/replicate/sources.js';
import { quiet } from '../support/clients.js';
import { load, TWO_LOCATIONS } from '../support/config.js';
import { suite } from '../support/suite.js';

const test = suite('worker: sources');

/** Stands in for one whose nodes can be told from here to be ill. */
class Told extends Location {
  readonly ill = new Set<Need>();

  override serves(need: Need): boolean {
    return !this.ill.has(need);
  }
}

/** Locations in an order of preference, all healthy at first. */
class ToldLocations extends Locations {
  override readonly all: readonly Told[];

  constructor(...preference: readonly string[]) {
    super({ locations: [], preference: [], identify: async () => true, log: quiet });
    this.all = preference.map(name => new Told(name, []));
  }

  set(name: string, need: Need, healthy: boolean): void {
    const { ill } = this.all.find(location => location.name === name) ?? { ill: new Set() };
    if (healthy) ill.delete(need);
    else ill.add(need);
  }
}

function jobFrom(sources: readonly string[], { name = 'a', size = 10 } = {}): HeldJob {
  const plain: Job = {
    ...{ id: name, token: name, digest: digestOf(Buffer.from(name)), size, target: 'ap', sources },
    ...{ attempts: 1, checkpoint: undefined, traceId: undefined, cause: undefined },
  };
  return { ...plain, signal: new AbortController().signal };
}

/** The queue that each of the jobs comes into, and its sources there. */
function divided(jobs: readonly HeldJob[], slots: Slots, locations: Locations): string[] {
  return [...divide(jobs, slots, locations)].flatMap(([queue, its]) =>
    its.map(job => `${queue.source} ${queue.large ? 'large' : 'small'}: ${job.sources.join()}`),
  );
}

test('the first of the preference comes first, in whatever order the sources are on record', () => {
  const recorded = [
    ['us', 'eu', 'sa'],
    ['sa', 'eu', 'us'],
    ['eu', 'sa', 'us'],
  ];
  for (const preference of [
    ['ap', 'eu', 'us', 'sa'],
    ['sa', 'us', 'ap', 'eu'],
  ]) {
    const locations = new ToldLocations(...preference);
    const [first, ...rest] = preference.filter(name => name !== 'ap');
    for (const sources of recorded) {
      const job = jobFrom(sources);
      assert.equal(divided([job], new Slots(4), locations), [`${first} small: ${[first, ...rest]}`]);
      assert.equal(inOrder(job, locations).sources, [first, ...rest]);
    }
  }
});

test('health goes before preference; of what can be read, whether it can be written to is no matter', () => {
  const locations = new ToldLocations('ap', 'eu', 'us', 'sa');
  const job = jobFrom(['us', 'eu', 'sa'], { size: SMALL_BLOB_BYTES + 1 });
  locations.set('eu', 'write', false);
  assert.equal(divided([job], new Slots(4), locations), ['eu large: eu,us,sa']);
  locations.set('eu', 'read', false);
  assert.equal(divided([job], new Slots(4), locations), ['us large: us,sa,eu'], 'one that is ill is the last resort');
  assert.equal(inOrder(job, locations).sources, ['us', 'sa', 'eu']);
  locations.set('us', 'read', false);
  assert.equal(divided([job], new Slots(4), locations), ['sa large: sa,eu,us']);
  for (const name of ['eu', 'us']) locations.set(name, 'read', true);
  assert.equal(divided([job], new Slots(4), locations), ['eu large: eu,us,sa']);
});

test('where nothing is healthy, the first of the preference is tried all the same', () => {
  const locations = new ToldLocations('ap', 'eu', 'us');
  for (const name of ['eu', 'us']) locations.set(name, 'read', false);
  assert.equal(divided([jobFrom(['us', 'eu'])], new Slots(4), locations), ['eu small: eu,us']);
});

test('what the first has no slot for comes from the next that has; if none has, it waits for the first', () => {
  const locations = new ToldLocations('ap', 'eu', 'us');
  const large = { size: SMALL_BLOB_BYTES + 1 };
  const jobs = ['a', 'b', 'c', 'd', 'e'].map(name => jobFrom(['us', 'eu'], { name, ...large }));
  const slots = new Slots(2);
  assert.equal(divided(jobs, slots, locations), [
    ...['eu large: eu,us', 'eu large: eu,us', 'eu large: eu,us'],
    ...['us large: us', 'us large: us'],
  ]);
  // Those that run count, too, of their own kind.
  slots.of({ target: 'ap', source: 'eu', large: true }).running = 2;
  assert.equal(divided(jobs.slice(0, 1), slots, locations), ['us large: us']);
  assert.equal(divided([jobFrom(['us', 'eu'])], slots, locations), ['eu small: eu,us']);
});

test('the target is no source; what stands there alone, or nowhere, is in the queue without one', () => {
  const locations = new ToldLocations('ap', 'eu', 'us');
  assert.equal(divided([jobFrom(['ap', 'us'])], new Slots(4), locations), ['us small: us']);
  assert.equal(inOrder(jobFrom(['ap', 'us']), locations).sources, ['us']);
  for (const sources of [['ap'], [], ['unknown']]) {
    assert.equal(divided([jobFrom(sources)], new Slots(4), locations), [`undefined small: ${sources}`]);
    assert.equal(inOrder(jobFrom(sources), locations).sources, sources);
  }
});

test('the preference is what DISTRIBUTED_STORAGE_PREFERENCE says, or its variable; what they leave out follows', async () => {
  const cases = [
    { yaml: '', env: '', is: ['usstorage', 'eustorage'] },
    { yaml: '[eustorage, usstorage]', env: '', is: ['eustorage', 'usstorage'] },
    { yaml: '[eustorage]', env: '', is: ['eustorage', 'usstorage'] },
    { yaml: '[eustorage]', env: 'usstorage', is: ['usstorage', 'eustorage'] },
  ];
  for (const { yaml, env, is } of cases) {
    const text = yaml && `${TWO_LOCATIONS}DISTRIBUTED_STORAGE_PREFERENCE: ${yaml}`;
    const config = load(text || TWO_LOCATIONS, 'worker', env ? { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: env } : {});
    const locations = new Locations({ ...config, identify: async () => true, log: quiet });
    try {
      const names = (found: readonly Location[]) => found.map(({ name }) => name);
      assert.equal([names(locations.all), names(locations.forReading(['usstorage', 'eustorage']))], [is, is]);
    } finally {
      await locations.close();
    }
  }
});

test.run();
