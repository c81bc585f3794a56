/** The kill sweep at its full length: 200 deaths, or as many as ENTREPOT_TEST_RUNS says. */
import { randomBytes } from 'node:crypto';
import { killSweep } from '../support/kill-sweep.js';
import { startStack } from '../support/stack.js';
import { note, suite } from '../support/suite.js';

const HOUR_MS = 3_600_000;
const test = suite('kill sweep', { timeoutMs: HOUR_MS, fileTimeoutMs: HOUR_MS });

const runs = Number(process.env.ENTREPOT_TEST_RUNS ?? 200);

test(`a process dies in the middle of a hundred copies, ${runs} times`, async () => {
  const seed = process.env.ENTREPOT_TEST_SEED ?? randomBytes(4).toString('hex');
  note(`seed ${seed} (the same again: ENTREPOT_TEST_SEED=${seed})`);
  await killSweep(await startStack(), { runs, seed });
});

test.run();
