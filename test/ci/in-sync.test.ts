/** WatchReplication is never wrong: some random interleavings for the gate; more are in test/long. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { WatchReplicationResponse__Output } from '../../proto/generated/entrepot/admin/v1/WatchReplicationResponse.js';
import { adminClient, read } from '../support/admin.js';
import { chanceOf, oneOf } from '../support/chance.js';
import { freshMetadata } from '../support/clients.js';
import { interleave } from '../support/interleavings.js';
import { ociClient, sha256 } from '../support/oci-client.js';
import { startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

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

test('real processes: what was pushed before the call is on every disk when the watcher says so', async () => {
  const stack = await startStack();
  const chance = chanceOf(process.env.ENTREPOT_TEST_SEED ?? randomBytes(4).toString('hex'));
  const [us, eu] = [ociClient(stack.us), ociClient(stack.eu)];
  atEnd(() => Promise.all([us.close(), eu.close()]));
  const admin = adminClient(`127.0.0.1:${stack.ports['worker-eu']}`);
  const push = () => oneOf(chance, [us, eu]).pushBlob('team/app', randomBytes(1 + Math.floor(chance() * 50_000)));
  for (let round = 0; round < 8; round++) {
    const before = await Promise.all(Array.from({ length: 6 }, push));
    const after = Promise.all(Array.from({ length: 6 }, push));
    const checked = oneOf(chance, before);
    const file = join(stack.storagePath('usstorage'), 'sha256', checked.slice(7, 9), checked.slice(7));
    const watching = read<WatchReplicationResponse__Output>(admin.WatchReplication({ intervalMs: 100 }));
    if (chance() < 0.5) await oneOf(chance, [us, eu]).request('DELETE', `/v2/team/app/blobs/${oneOf(chance, before)}`);
    assert.is((await watching).at(-1)?.inSync, true);
    for (const location of ['usstorage', 'eustorage']) {
      const there = await stack.blobsOf(location);
      for (const digest of before) assert.ok(there.includes(digest), `round ${round}: ${location} lacks ${digest}`);
    }
    assert.is(sha256(await readFile(file)), checked, `round ${round}`);
    await after;
  }
});

test.run();
