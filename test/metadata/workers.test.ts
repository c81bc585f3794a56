/** Workers as the database knows them: who lives, who shares what, and within which limits. */
import { randomUUID } from 'node:crypto';
import * as assert from 'uvu/assert';
import { Workers } from '../../lib/metadata/workers.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: workers');
const ALL = ['usstorage', 'eustorage'];
let m: Metadata;
let workers: Workers;

test.before(async () => {
  m = await freshMetadata();
  workers = new Workers(m.db);
});
test.before.each(async () => {
  await m.db.query('delete from worker');
});

async function announced(locations: readonly string[], knows: readonly string[] = ALL): Promise<string> {
  const id = randomUUID();
  await workers.announce({ id, address: `${id.slice(0, 8)}:7090`, locations, knows });
  return id;
}
async function share(id: string, location: string) {
  return (await workers.shares(id)).find(each => each.location === location);
}
const died = (id: string) =>
  m.db.query("update worker set lease_until = now() - interval '1 second' where id = $1", [id]);

test('the living workers of a location share it, each in a place of its own', async () => {
  const [one, two] = [await announced(['eustorage']), await announced(['eustorage', 'usstorage'])];
  const shares = await Promise.all([one, two].map(id => share(id, 'eustorage')));
  assert.equal(
    shares.map(each => each?.workers),
    [2, 2],
  );
  assert.equal(shares.map(each => each?.place).sort(), [0, 1]);
  assert.equal([(await share(one, 'usstorage'))?.place, (await share(two, 'usstorage'))?.place], [undefined, 0]);
  assert.is((await workers.addresses('eustorage')).length, 2);
});

test('a location whose workers are dead is shared by all that know it, until one is back', async () => {
  const [us, eu, ignorant] = [
    await announced(['usstorage']),
    await announced(['eustorage']),
    await announced(['usstorage'], ['usstorage']),
  ];
  assert.is((await share(us, 'eustorage'))?.place, undefined);
  await died(eu);
  const { orphaned, workers: count, place } = (await share(us, 'eustorage')) ?? {};
  assert.equal([orphaned, count, place], [true, 1, 0]);
  assert.is((await share(ignorant, 'eustorage'))?.place, undefined);
  await announced(['eustorage']);
  assert.equal([(await share(us, 'eustorage'))?.orphaned, (await share(us, 'eustorage'))?.place], [false, undefined]);
});

test('a worker that ended in order is no longer counted, but taken over from only when its lease is out', async () => {
  const [us, eu] = [await announced(['usstorage']), await announced(['eustorage'])];
  await workers.leave(eu);
  assert.equal(await workers.addresses('eustorage'), []);
  assert.is((await share(us, 'eustorage'))?.orphaned, false);
  assert.is((await share(us, 'eustorage'))?.place, undefined);
  await died(eu);
  assert.is((await share(us, 'eustorage'))?.orphaned, true);
});

test('limits are kept, replaced, and taken away', async () => {
  const id = await announced(['eustorage']);
  const limits = async () => (await share(id, 'eustorage'))?.limits;
  assert.equal(await limits(), { concurrency: undefined, bytesPerSecond: undefined });
  assert.ok(await workers.setLimits('eustorage', { concurrency: 3, bytesPerSecond: 5_000_000_000 }));
  assert.equal(await limits(), { concurrency: 3, bytesPerSecond: 5_000_000_000 });
  assert.ok(await workers.setLimits('eustorage', { concurrency: undefined, bytesPerSecond: undefined }));
  assert.equal(await limits(), { concurrency: undefined, bytesPerSecond: undefined });
  assert.not(await workers.setLimits('nostorage', { concurrency: 3, bytesPerSecond: undefined }));
});

test.run();
