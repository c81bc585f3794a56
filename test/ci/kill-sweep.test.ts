/** A short kill sweep for the gate; the long one is in test/long. */
import { randomBytes } from 'node:crypto';
import { killSweep } from '../support/kill-sweep.js';
import { startStack } from '../support/stack.js';
import { note, suite } from '../support/suite.js';

const test = suite('kill sweep, short', { timeoutMs: 280_000, fileTimeoutMs: 300_000 });

test('a process dies in the middle of a hundred copies, four times', async () => {
  const seed = process.env.ENTREPOT_TEST_SEED ?? randomBytes(4).toString('hex');
  note(`seed ${seed} (the same again: ENTREPOT_TEST_SEED=${seed})`);
  await killSweep(await startStack(), { runs: 4, seed });
});

test.run();
