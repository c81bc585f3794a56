/**
 * LocalStorage on a disk that takes bytes and then loses them: a real one, a volume without room behind a file system that
 * does not know. The kernel tells of that once, to whoever syncs next, and after that takes what it lost for written.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { digestOf } from '../../lib/oci/digest.js';
import type { Checkpoint } from '../../storage-proxy/engines/engine.js';
import { LocalStorage } from '../../storage-proxy/engines/local.js';
import { collect, pattern, pieces } from '../support/bytes.js';
import { attempt, run } from '../support/command.js';
import { rejects } from '../support/rejects.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { mountFromDisk, mountImage } from '../support/volume.js';

const test = suite('LocalStorage: a failing disk', { needs: ['e2fsprogs'] });
const MiB = 1024 * 1024;
const nothing = () => {};
/** After so many bytes they are sent to the disk while others come in. */
const SYNC_BYTES = 32 * MiB;

interface Disk {
  readonly root: string;
  /** Gives it the room that it lacks. */
  mend(): Promise<unknown>;
  /** Has all that is not on the disk forgotten, as after a loss of power. */
  reopen(): Promise<void>;
}

/** A file system of 256 MiB in a file that has room for 16. */
async function failingDisk(): Promise<Disk> {
  const room = await temporaryFolder('room');
  const root = await temporaryFolder('failing');
  const image = join(room, 'image');
  await run('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', room]);
  atEnd(() => run('umount', ['-l', room]));
  await run('truncate', ['-s', '256M', image]);
  await run('mkfs.ext4', ['-q', '-O', '^has_journal', image]);
  await mountImage(image, root);
  atEnd(() => run('umount', ['-l', root]));
  return {
    root,
    mend: () => run('mount', ['-o', 'remount,size=256m', room]),
    reopen: async () => {
      // It fails if it is the first to hear of what was lost.
      await attempt('sync', ['-f', root]);
      await mountFromDisk(image, root);
    },
  };
}

/** Pieces that come slowly once enough are there to be sent to the disk: what becomes of that is known before the end. */
async function* slowly(data: Buffer): AsyncGenerator<Buffer> {
  let at = 0;
  for await (const piece of pieces(data, 512 * 1024)) {
    yield piece;
    at += piece.length;
    if (at > SYNC_BYTES) await sleep(100);
  }
}

/** What was lost is gone, and not committed by mistake once the disk is mended; what comes after that stays. */
async function isLost(disk: Disk, store: LocalStorage, data: Buffer, from: Checkpoint): Promise<void> {
  const digest = digestOf(data);
  await disk.mend();
  for (const node of [store, new LocalStorage({ storage_path: disk.root })]) {
    await rejects('UPLOAD_UNKNOWN', () => node.append(from.session, pieces(data.subarray(from.offset), MiB), nothing));
    await rejects('UPLOAD_UNKNOWN', () => node.commit(from.session, digest));
    assert.is(await node.stat(digest), undefined);
  }
  const { session } = await store.begin({ digest });
  await store.commit((await store.append(session, pieces(data, MiB), nothing)).session, digest);
  await disk.reopen();
  assert.ok((await collect((await store.read(digest, { offset: 0 })).bytes)).equals(data), 'all bytes are on the disk');
}

const CASES: Record<string, { bytes: number; source: (data: Buffer) => AsyncGenerator<Buffer> }> = {
  'while its bytes come in': { bytes: SYNC_BYTES + 20 * MiB, source: slowly },
  // The last piece is what lets those before it be sent.
  'when all of them have': { bytes: SYNC_BYTES + MiB / 2, source: data => pieces(data, MiB / 2) },
};
for (const [when, { bytes, source }] of Object.entries(CASES)) {
  const name = `an upload whose bytes do not get to the disk fails for good, ${when}`;
  test(name, async () => {
    if (process.getuid?.() !== 0) throw new Error('only root can mount a file system: run this test as root');
    const disk = await failingDisk();
    const store = new LocalStorage({ storage_path: disk.root });
    const data = pattern(bytes, 1);
    const { session } = await store.begin({ digest: digestOf(data) });
    let last: Checkpoint = { offset: 0, session };
    const append = () =>
      store.append(session, source(data), checkpoint => {
        last = checkpoint;
      });
    await rejects(['DISK_FULL', 'STORE_UNREACHABLE'], append);
    assert.ok(last.offset >= SYNC_BYTES && last.offset < data.length, `at ${last.offset}`);
    await isLost(disk, store, data, last);
  });
}

test.run();
