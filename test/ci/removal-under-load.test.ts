/** A location is removed under load, with random deaths; the long tier does it fifty times. */
import { randomBytes } from 'node:crypto';
import { removalUnderLoad } from '../support/removal-under-load.js';
import { suite } from '../support/suite.js';

const test = suite('removal under load', { timeoutMs: 280_000, fileTimeoutMs: 300_000 });

test('a location is removed while clients push, pull and mount in both regions, and processes die', async () => {
  const seed = process.env.ENTREPOT_TEST_SEED ?? randomBytes(4).toString('hex');
  process.stdout.write(`   ${seed}: ${await removalUnderLoad(seed)}\n`);
});

test.run();
