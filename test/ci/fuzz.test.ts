/** Odd requests by the thousand, for the gate; test/long/fuzz.test.ts asks for more. */
import { randomInt } from 'node:crypto';
import { fuzz } from '../fuzz/fuzz.js';
import { suite } from '../support/suite.js';

const test = suite('fuzz, short', { timeoutMs: 280_000, fileTimeoutMs: 300_000 });

test('thousands of odd requests: orderly answers, and nothing left behind', async () => {
  const seed = Number(process.env.ENTREPOT_TEST_SEED ?? randomInt(2 ** 31));
  console.log(`   ENTREPOT_TEST_SEED=${seed}`);
  await fuzz({ seed, requests: 4_000, sequences: 300, timeLimitMs: 25_000 });
});

test.run();
