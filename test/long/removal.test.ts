/** A location is removed under load, with random deaths, fifty times. */
import { randomBytes } from 'node:crypto';
import { removalUnderLoad } from '../support/removal-under-load.js';
import { suite } from '../support/suite.js';

const HOUR_MS = 3_600_000;
const RUNS = 50;
const test = suite('removal under load', { timeoutMs: HOUR_MS, fileTimeoutMs: HOUR_MS });

// ENTREPOT_TEST_SEED repeats one run; ENTREPOT_TEST_RUNS says how many there are.
test('a location is removed under load, again and again', async () => {
  const again = process.env.ENTREPOT_TEST_SEED;
  const seed = randomBytes(4).toString('hex');
  const runs = again ? 1 : Number(process.env.ENTREPOT_TEST_RUNS ?? RUNS);
  for (let run = 0; run < runs; run++) {
    const name = again ?? `${seed}/${run}`;
    process.stdout.write(`   ${name}: ${await removalUnderLoad(name)}\n`);
  }
});

test.run();
