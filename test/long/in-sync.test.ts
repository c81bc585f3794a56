/** WatchReplication is never wrong: a thousand random interleavings. */
import { randomBytes } from 'node:crypto';
import { freshMetadata } from '../support/clients.js';
import { interleave } from '../support/interleavings.js';
import { suite } from '../support/suite.js';

const HOUR_MS = 3_600_000;
const test = suite('in sync', { timeoutMs: HOUR_MS, fileTimeoutMs: HOUR_MS });

test('1,000 random interleavings: what watchers are told is held against a full comparison at every moment', async () => {
  const seed = process.env.ENTREPOT_TEST_SEED ?? randomBytes(4).toString('hex');
  process.stdout.write(`   seed ${seed}\n`);
  const m = await freshMetadata();
  await m.places.register(['apstorage']);
  const { moments, inSync } = await interleave(m, { runs: 1_000, seed });
  process.stdout.write(`   ${moments} moments, ${inSync} times in sync\n`);
});

test.run();
