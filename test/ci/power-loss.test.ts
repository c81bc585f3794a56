/**
 * Power loss under LocalStorage: a file system of its own (XFS in a file) is shut down in the middle of pushes, as if
 * the plug were pulled, and mounted again. What was acknowledged is there and right; nothing half-written is visible.
 */
import { execFile } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { blobFile } from '../support/blob-file.js';
import { ociClient, sha256 } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { mountFromDisk, mountImage } from '../support/volume.js';

const run = promisify(execFile);
const test = suite('power loss', { needs: ['xfsprogs'], timeoutMs: 120_000 });
const ROUNDS = 4;

/** An XFS file system in a file, mounted where a location's storage is; the test may pull its plug. */
async function mountDisk(at: string): Promise<{ pullPlug(): Promise<void>; mountAgain(): Promise<void> }> {
  let image = join(await temporaryFolder('disk'), 'xfs');
  await writeFile(image, '');
  await truncate(image, 1024 ** 3);
  await run('mkfs.xfs', ['-q', image]);
  await mountImage(image, at);
  atEnd(() => run('umount', ['-l', at]));
  return {
    // The log is not written out first: what was not synced by then is gone.
    pullPlug: async () => void (await run('xfs_io', ['-x', '-c', 'shutdown', at])),
    mountAgain: async () => {
      image = await mountFromDisk(image, at, ['nouuid']);
    },
  };
}

async function pushUntilItFails(stack: Stack, who: number, acknowledged: Map<string, Buffer>): Promise<void> {
  const client = ociClient(stack.us);
  try {
    while (true) {
      const bytes = randomBytes(randomInt(0, 2) ? randomInt(1, 5_000) : randomInt(100_000, 3_000_000));
      const digest = await client.pushBlob(`power/p${who}`, bytes);
      acknowledged.set(digest, bytes);
    }
  } catch {
    // The plug was pulled.
  } finally {
    client.close();
  }
}

test('what was acknowledged survives, and nothing half-written is visible', async () => {
  if (process.getuid?.() !== 0) throw new Error('only root can mount a file system: run this test as root');
  const stack = await startStack({ parts: [], config: { FEATURE_STORAGE_REPLICATION: false } });
  const at = stack.storagePath('usstorage');
  await mkdir(at, { recursive: true });
  const disk = await mountDisk(at);
  const acknowledged = new Map<string, Buffer>();
  await stack.start('storage-proxy-us');
  await stack.start('gateway-us');
  for (let round = 0; round < ROUNDS; round++) {
    const before = acknowledged.size;
    const pushing = [0, 1, 2, 3].map(who => pushUntilItFails(stack, who, acknowledged));
    await sleep(randomInt(800, 2_000));
    await disk.pullPlug();
    await stack.kill('storage-proxy-us');
    await stack.kill('gateway-us');
    await Promise.all(pushing);
    assert.ok(acknowledged.size > before, 'nothing was pushed before the plug was pulled');

    await disk.mountAgain();
    const there = new Set(await stack.blobsOf('usstorage'));
    for (const digest of there) {
      assert.is(sha256(await readFile(blobFile(at, digest))), digest, 'a visible blob is not whole');
    }
    for (const digest of acknowledged.keys()) assert.ok(there.has(digest), `${digest} was acknowledged and is gone`);

    await stack.start('storage-proxy-us');
    await stack.start('gateway-us');
    const client = ociClient(stack.us);
    const [digest, bytes] = [...acknowledged].at(-1) ?? ['', Buffer.alloc(0)];
    const found = await Promise.any([0, 1, 2, 3].map(who => client.pullBlob(`power/p${who}`, digest)));
    assert.ok(found.equals(bytes));
    client.close();
  }
  console.log(`${acknowledged.size} blobs were acknowledged over ${ROUNDS} power losses, and all are there`);
});

test.run();
