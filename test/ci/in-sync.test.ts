/** WatchReplication is never wrong: some random interleavings for the gate; more are in test/long. */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import { freshMetadata } from '../support/clients.js';
import { interleave } from '../support/interleavings.js';
import { suite } from '../support/suite.js';

const test = suite('in sync, short', { timeoutMs: 110_000 });

test('25 random interleavings: what the watcher is told is held against a full comparison at every moment', async () => {
  const seed = process.env.ENTREPOT_TEST_SEED ?? randomBytes(4).toString('hex');
  process.stdout.write(`   seed ${seed}\n`);
  const m = await freshMetadata();
  await m.places.register(['apstorage']);
  const { moments, inSync } = await interleave(m, { runs: 25, seed });
  process.stdout.write(`   ${moments} moments, ${inSync} of them in sync\n`);
  assert.ok(moments > 100 && inSync > 0, 'it looked at enough');
});

test.run();
