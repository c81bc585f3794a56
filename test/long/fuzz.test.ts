/**
 * Odd requests for as long as one likes: `npm run test:long -- fuzz`.
 *
 * ENTREPOT_TEST_RUNS: how many single requests; a tenth as many sequences (default 50,000).
 * ENTREPOT_TEST_SEED: a number, which the run before has printed; the same one asks the same things.
 */
import { randomInt } from 'node:crypto';
import { fuzz } from '../fuzz/fuzz.js';
import { suite } from '../support/suite.js';

const HOUR_MS = 3_600_000;
const test = suite('fuzz', { timeoutMs: 3 * HOUR_MS, fileTimeoutMs: 3 * HOUR_MS });

test('odd requests without end: orderly answers, and nothing left behind', async () => {
  const seed = Number(process.env.ENTREPOT_TEST_SEED ?? randomInt(2 ** 31));
  const requests = Number(process.env.ENTREPOT_TEST_RUNS ?? 50_000);
  console.log(`   ENTREPOT_TEST_SEED=${seed} ENTREPOT_TEST_RUNS=${requests}`);
  await fuzz({ seed, requests, sequences: Math.ceil(requests / 10), timeLimitMs: 2 * HOUR_MS });
});

test.run();
