/** The worker's pure parts. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { digestOf } from '../../lib/oci/digest.js';
import { retryDelayMs } from '../../worker/replicate/backoff.js';
import { intoBatches, SMALL_BLOB_BYTES } from '../../worker/replicate/batch.js';
import type { HeldJob } from '../../worker/replicate/leases.js';
import { Wake } from '../../worker/replicate/wake.js';
import { suite } from '../support/suite.js';

const test = suite('worker: small parts');

test('retries come soon at first, never later than five minutes, and not all at once', () => {
  assert.is(
    retryDelayMs(1, () => 1),
    1_000,
  );
  assert.is(
    retryDelayMs(1, () => 0),
    500,
  );
  for (const attempts of [10, 100, 1e9])
    assert.is(
      retryDelayMs(attempts, () => 1),
      300_000,
    );
});

test('batches keep every job once, are for one target each, and fit into a message', () => {
  const job = fc.record({
    target: fc.constantFrom('us', 'eu', 'ap'),
    size: fc.integer({ min: 0, max: SMALL_BLOB_BYTES }),
  });
  fc.assert(
    fc.property(fc.array(job, { maxLength: 1_200 }), descriptions => {
      const jobs = descriptions.map(
        (each, index) => ({ ...each, id: String(index), digest: digestOf(Buffer.from([index])) }) as HeldJob,
      );
      const batches = intoBatches(jobs);
      assert.equal(
        batches
          .flat()
          .map(each => each.id)
          .sort(),
        jobs.map(each => each.id).sort(),
      );
      for (const batch of batches) {
        assert.ok(batch.length > 0 && batch.length <= 500);
        assert.is(new Set(batch.map(each => each.target)).size, 1);
        assert.ok(batch.reduce((sum, each) => sum + each.size, 0) <= 3 * 1024 * 1024);
      }
    }),
    { numRuns: 50 },
  );
});

test('a bell that rings while nobody sleeps wakes the next sleeper at once', async () => {
  const wake = new Wake();
  wake.now();
  await wake.within(60_000);
  setTimeout(() => wake.now(), 10);
  await wake.within(60_000);
  const began = Date.now();
  await wake.within(30);
  assert.ok(Date.now() - began >= 25);
});

test.run();
