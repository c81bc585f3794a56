/**
 * The storage contract as a suite: what every engine must do, and, unchanged, what a caller sees of it over gRPC.
 * Each case cleans up what it meant to store; whatever else is left behind then is a failure.
 */
import * as assert from 'uvu/assert';
import { type Digest, digestOf, endHash, newHash } from '../../lib/oci/digest.js';
import { FRAME_BYTES } from '../../lib/rpc/channel.js';
import { StatusError } from '../../lib/rpc/errors.js';
import type { ByteRange, Checkpoint, Engine } from '../../storage-proxy/engines/engine.js';
import { collect, endless, failing, pattern, pieces, turns } from '../support/bytes.js';
import { rejects } from '../support/rejects.js';
import { type SuiteOptions, suite } from '../support/suite.js';
import { finished, soon } from '../support/wait.js';

/** What an engine and the gRPC client have in common. */
export type Store = Pick<Engine, 'stat' | 'read' | 'remove' | 'list' | 'begin' | 'append' | 'commit' | 'abort'>;

/** A store under test. */
export interface OpenStore {
  readonly store: Store;
  /** Whatever lies in the store, blobs and unfinished things alike, apart from its marker. */
  leftovers(): Promise<string[]>;
  /** Ends the store's process at once, as a crash would, and starts it again. */
  crash(): Promise<void>;
  /** The store's files that its process has open. */
  openFiles(): Promise<string[]>;
  /** Resident memory of the store's process, in bytes. */
  memory(): Promise<number>;
  close(): Promise<void>;
}

const MIB = 1024 * 1024;

export function contract(name: string, open: () => Promise<OpenStore>, options: SuiteOptions = {}): void {
  const test = suite(`contract: ${name}`, { timeoutMs: 60_000, fileTimeoutMs: 240_000, ...options });
  let opened: OpenStore;
  let stored: Set<Digest>;
  /** What an earlier test left behind: its failure, and not that of all that follow. */
  let leftEarlier: string[] = [];

  test.before(async () => {
    opened = await open();
  });
  test.after(() => opened.close());
  test.before.each(() => {
    stored = new Set();
  });
  test.after.each(async () => {
    for (const digest of stored) await opened.store.remove(digest);
    try {
      await soon('nothing is left behind', nothingIsLeft);
    } catch (error) {
      leftEarlier = await opened.leftovers();
      throw error;
    }
    await soon('no file is open', async () => assert.equal(await opened.openFiles(), []));
  });

  const nothingIsLeft = async () => {
    const left = await opened.leftovers();
    assert.equal(
      left.filter(each => !leftEarlier.includes(each)),
      [],
    );
  };
  const begin = async () => (await opened.store.begin({})).session;
  const append = (
    session: Buffer,
    source: AsyncIterable<Buffer>,
    checkpoints: Checkpoint[] = [],
    signal?: AbortSignal,
  ) => opened.store.append(session, source, checkpoint => checkpoints.push(checkpoint), signal);
  const commit = async (session: Buffer, digest: Digest) => {
    stored.add(digest);
    return opened.store.commit(session, digest);
  };
  const put = async (data: Buffer, pieceBytes = 100_000): Promise<Digest> => {
    const digest = digestOf(data);
    const { session, offset } = await append(await begin(), pieces(data, pieceBytes));
    assert.is(offset, data.length);
    assert.is(await commit(session, digest), data.length);
    return digest;
  };
  const get = async (digest: Digest, range: ByteRange = { offset: 0 }) => {
    const { size, bytes } = await opened.store.read(digest, range);
    return { size, data: await collect(bytes) };
  };
  const assertStored = async (data: Buffer, digest = digestOf(data)) => {
    assert.is(await opened.store.stat(digest), data.length);
    const read = await get(digest);
    assert.is(read.size, data.length);
    assert.ok(read.data.equals(data), 'the bytes that were read are those that were written');
  };

  const edges = [FRAME_BYTES, 256 * 1024, 512 * 1024, MIB, 8 * MIB];
  const sizes = [0, 1, 5, ...edges.flatMap(edge => [edge - 1, edge, edge + 1])];
  for (const size of sizes) {
    test(`a blob of ${size} bytes is what was written`, async () => {
      const data = pattern(size, size);
      await put(data);
      await assertStored(data);
    });
  }

  test('pieces of any size make the same blob', async () => {
    const data = pattern(3 * MIB + 7, 1);
    for (const pieceBytes of [1000, 65_537, FRAME_BYTES, 2 * MIB, data.length]) {
      await put(data, pieceBytes);
      await assertStored(data);
    }
  });

  test('a large blob costs no more memory than a small one', async () => {
    const block = pattern(MIB, 3);
    const blocks = 300;
    async function* source() {
      for (let i = 0; i < blocks; i++) yield block;
    }
    await put(block);
    const before = await opened.memory();
    let most = before;
    const sample = setInterval(async () => {
      most = Math.max(most, await opened.memory());
    }, 20);
    try {
      const { session } = await append(await begin(), source());
      const digest = digestOfRepeated(block, blocks);
      await commit(session, digest);
      let read = 0;
      for await (const piece of (await opened.store.read(digest, { offset: 0 })).bytes) read += piece.length;
      assert.is(read, blocks * MIB);
    } finally {
      clearInterval(sample);
    }
    const growth = (most - before) / MIB;
    console.log(`  ${name}: ${blocks} MiB written and read; memory grew by ${growth.toFixed(0)} MiB`);
    assert.ok(growth < 150, `memory grew by ${growth.toFixed(0)} MiB`);
  });

  test('a range is exactly that part', async () => {
    const data = pattern(MIB + 11, 4);
    const digest = await put(data);
    const end = data.length;
    const ranges: [number, number | undefined][] = [
      [0, 1],
      [0, undefined],
      [1, 1],
      [end - 1, 1],
      [end - 1, undefined],
      [end - 10, 100],
      [FRAME_BYTES - 1, 2],
      [FRAME_BYTES, FRAME_BYTES],
      [1, end],
      [0, Number.MAX_SAFE_INTEGER - end],
      [end, undefined],
      [end, 10],
      [7, 0],
    ];
    for (const [offset, limit] of ranges) {
      const { size, data: read } = await get(digest, { offset, limit });
      assert.is(size, end, 'the size is always the whole blob’s');
      const wanted = data.subarray(offset, limit === undefined ? end : offset + limit);
      assert.ok(read.equals(wanted), `${offset}+${limit}: ${read.length} bytes instead of ${wanted.length}`);
    }
    await rejects('OFFSET', () => get(digest, { offset: end + 1 }));
    await rejects('OFFSET', () => get(digest, { offset: end + 1, limit: 1 }));
  });

  test('what is not there is unknown', async () => {
    const digest = digestOf(Buffer.from('nobody has this'));
    assert.is(await opened.store.stat(digest), undefined);
    await rejects('BLOB_UNKNOWN', () => opened.store.read(digest, { offset: 0 }));
    await opened.store.remove(digest);
  });

  test('many small appends make one blob', async () => {
    const data = pattern(200 * 1024, 5);
    let session = await begin();
    for (let at = 0; at < data.length; at += 1024) {
      const next = await append(session, pieces(data.subarray(at, at + 1024), 1024));
      assert.is(next.offset, at + 1024);
      session = next.session;
    }
    const digest = digestOf(data);
    assert.is(await commit(session, digest), data.length);
    await assertStored(data);
  });

  test('an append of nothing changes nothing', async () => {
    const data = pattern(1000, 6);
    const first = await append(await begin(), pieces(Buffer.alloc(0), 1));
    assert.is(first.offset, 0);
    const second = await append(first.session, pieces(data, 100));
    const third = await append(second.session, pieces(Buffer.alloc(0), 1));
    assert.is(third.offset, 1000);
    await commit(third.session, digestOf(data));
    await assertStored(data);
  });

  test('goes on from any checkpoint after the source failed', async () => {
    const data = pattern(21 * MIB, 7);
    for (const which of ['first', 'last'] as const) {
      const checkpoints: Checkpoint[] = [];
      const source = failing(pieces(data.subarray(0, 20 * MIB), 300_000), new Error('the client is gone'));
      await rejects('the client is gone', async () => append(await begin(), source, checkpoints));
      assert.ok(checkpoints.length >= 2, 'bytes are acknowledged on the way');
      assert.equal(
        checkpoints.map(({ offset }) => offset),
        checkpoints.map(({ offset }) => offset).sort((a, b) => a - b),
      );
      const from = which === 'first' ? checkpoints[0] : checkpoints.at(-1);
      assert.ok(from);
      const { session } = await append(from.session, pieces(data.subarray(from.offset), 300_000));
      await commit(session, digestOf(data));
      await assertStored(data);
    }
  });

  test('goes on from a checkpoint after its process was killed', async () => {
    const data = pattern(20 * MIB, 8);
    const checkpoints: Checkpoint[] = [];
    const stop = new AbortController();
    const cut = append(await begin(), endless(pieces(data, 300_000)), checkpoints, stop.signal).then(
      () => assert.unreachable('an append whose process is gone must fail'),
      () => {},
    );
    await soon('a checkpoint', async () => assert.ok(checkpoints.length > 0));
    await opened.crash();
    stop.abort();
    await cut;
    const from = checkpoints.at(-1);
    assert.ok(from);
    const more = await append(from.session, pieces(data.subarray(from.offset, from.offset + 1000), 100));
    const rest = await append(more.session, pieces(data.subarray(more.offset), 300_000));
    assert.is(rest.offset, data.length);
    await commit(rest.session, digestOf(data));
    await assertStored(data);
  });

  test('an upload that a killed process has finished can be committed', async () => {
    const data = pattern(100_000, 9);
    const { session } = await append(await begin(), pieces(data, 1000));
    await opened.crash();
    await commit(session, digestOf(data));
    await assertStored(data);
  });

  for (const winner of [0, 1] as const) {
    test(`two writers of one upload at the same time never mix bytes (committing writer ${winner})`, async () => {
      const base = pattern(100_000, 10);
      const ends = [pattern(9 * MIB, 11), pattern(9 * MIB, 12)] as const;
      const { session } = await append(await begin(), pieces(base, 1000));
      const results = await Promise.allSettled(
        turns(ends.map(end => pieces(end, 128_000))).map(source => append(session, source)),
      );
      const committed = results.map((result, i) =>
        result.status === 'fulfilled'
          ? { session: result.value.session, data: Buffer.concat([base, ends[i] ?? base]) }
          : undefined,
      );
      assert.ok(committed.some(Boolean), 'at least one of two writers gets through');
      const mine = committed[winner] ?? committed[1 - winner];
      const other = committed[mine === committed[0] ? 1 : 0];
      assert.ok(mine);
      const digest = digestOf(mine.data);
      await commit(mine.session, digest);
      await assertStored(mine.data);
      if (other)
        await rejects(['UPLOAD_UNKNOWN', 'DIGEST_MISMATCH'], () => commit(other.session, digestOf(other.data)));
      await assertStored(mine.data);
    });
  }

  test('each session stands for its own bytes, also behind a fork', async () => {
    const [base, left, right] = [pattern(1000, 13), pattern(2000, 14), pattern(3000, 15)];
    const { session } = await append(await begin(), pieces(base, 100));
    const a = await append(session, pieces(left, 100));
    const b = await append(session, pieces(right, 100)).catch(() => undefined);
    if (b) {
      const both = await append(b.session, pieces(left, 100));
      const data = Buffer.concat([base, right, left]);
      await commit(both.session, digestOf(data));
      await assertStored(data);
    } else {
      await commit(a.session, digestOf(Buffer.concat([base, left])));
    }
  });

  test('the digest of another writer’s bytes is a mismatch', async () => {
    const [base, left, right] = [pattern(1000, 16), pattern(2000, 17), pattern(2000, 18)];
    const { session } = await append(await begin(), pieces(base, 100));
    const a = await append(session, pieces(left, 100));
    await append(session, pieces(right, 100)).catch(() => undefined);
    await rejects('DIGEST_MISMATCH', () => commit(a.session, digestOf(Buffer.concat([base, right]))));
    await opened.store.abort(a.session);
  });

  for (const [size, more] of [
    [0, 1],
    [1000, 100_000],
    [9 * MIB, 9 * MIB],
  ] as const) {
    test(`an older session that is no such blob leaves the newer one as it is (${size} and ${more} bytes)`, async () => {
      const data = pattern(size + more, 41);
      const older = await append(await begin(), pieces(data.subarray(0, size), 100_000));
      const newer = await append(older.session, pieces(data.subarray(size), 100_000));
      await rejects(['DIGEST_MISMATCH', 'UPLOAD_UNKNOWN'], () => commit(older.session, digestOf(data)));
      await commit(newer.session, digestOf(data));
      await assertStored(data);
    });
  }

  test('two uploads of one blob at once', async () => {
    const data = pattern(2 * MIB, 19);
    await Promise.all([put(data, 10_000), put(data, 70_000), put(data, 300_000)]);
    await assertStored(data);
  });

  test('a wrong digest leaves nothing', async () => {
    const data = pattern(100_000, 20);
    const wrong = digestOf(Buffer.from('something else'));
    const { session } = await append(await begin(), pieces(data, 1000));
    await rejects('DIGEST_MISMATCH', () => opened.store.commit(session, wrong));
    assert.is(await opened.store.stat(wrong), undefined);
    assert.is(await opened.store.stat(digestOf(data)), undefined);
    await opened.store.abort(session);
    await rejects('UPLOAD_UNKNOWN', () => opened.store.commit(session, digestOf(data)));
  });

  test('a wrong digest stays wrong, also where that blob is here and as large: nobody has sent it', async () => {
    for (const size of [100_000, 9 * MIB]) {
      const digest = await put(pattern(size, 37));
      for (const plan of [{}, { digest }]) {
        const begun = await opened.store.begin(plan);
        const { session } = await append(begun.session, pieces(pattern(size, 38), 70_000));
        await rejects('DIGEST_MISMATCH', () => opened.store.commit(session, digest));
        // Its hash may be lost with the first try, and then so is the upload.
        const again = await opened.store.commit(session, digest).then(
          () => 'stored',
          (error: unknown) => (error instanceof StatusError ? error.reason : error),
        );
        assert.ok(again === 'DIGEST_MISMATCH' || again === 'UPLOAD_UNKNOWN', String(again));
        await opened.store.abort(session);
      }
    }
  });

  test('committing twice, also at the same time, is fine', async () => {
    const data = pattern(100_000, 21);
    const digest = digestOf(data);
    const { session } = await append(await begin(), pieces(data, 1000));
    assert.equal(await Promise.all([commit(session, digest), commit(session, digest), commit(session, digest)]), [
      data.length,
      data.length,
      data.length,
    ]);
    assert.is(await commit(session, digest), data.length);
    await assertStored(data);
  });

  test('an aborted upload is gone', async () => {
    const data = pattern(100_000, 22);
    const { session } = await append(await begin(), pieces(data, 1000));
    await opened.store.abort(session);
    await nothingIsLeft();
    await rejects('UPLOAD_UNKNOWN', () => append(session, pieces(data, 1000)));
    await rejects('UPLOAD_UNKNOWN', () => commit(session, digestOf(data)));
    await opened.store.abort(session);
  });

  test('an upload that was aborted while it was written to acknowledges no more', async () => {
    const data = pattern(20 * MIB, 23);
    const checkpoints: Checkpoint[] = [];
    const session = await begin();
    async function* source() {
      yield* pieces(data, 300_000);
      await opened.store.abort(session);
      yield* pieces(data, 300_000);
    }
    await rejects('UPLOAD_UNKNOWN', () => append(session, source(), checkpoints));
  });

  test('an upload that was just begun can be given up', async () => {
    await opened.store.abort(await begin());
  });

  test('sha512, known from the start or only at the end', async () => {
    const data = pattern(MIB + 1, 24);
    const digest = digestOf(data, 'sha512');
    for (const plan of [{ digest }, { algorithm: 'sha512' as const }, {}]) {
      const { session } = await append((await opened.store.begin(plan)).session, pieces(data, 100_000));
      assert.is(await commit(session, digest), data.length);
      await assertStored(data, digest);
      await opened.store.remove(digest);
    }
    const other = pattern(MIB + 1, 25);
    const { session } = await append((await opened.store.begin({ digest })).session, pieces(other, 100_000));
    await rejects('DIGEST_MISMATCH', () => opened.store.commit(session, digest));
    await opened.store.abort(session);
  });

  test('a cancelled read ends soon and frees what it holds', async () => {
    const digest = await put(pattern(30 * MIB, 26), MIB);
    const stop = new AbortController();
    const { bytes } = await opened.store.read(digest, { offset: 0 }, stop.signal);
    const iterator = bytes[Symbol.asyncIterator]();
    assert.ok(!(await iterator.next()).done);
    try {
      // A store that sends more slowly than it is read keeps nobody waiting at first.
      await soon('the blob is open while it is read', async () => assert.is((await opened.openFiles()).length, 1));
    } finally {
      stop.abort();
    }
    await soon('the file is closed though nobody pulls', async () => assert.equal(await opened.openFiles(), []));
    await finished(rejects('CANCELLED', () => collect({ [Symbol.asyncIterator]: () => iterator })));
    await rejects('CANCELLED', () => opened.store.read(digest, { offset: 0 }, stop.signal));
  });

  test('a read that is given up, or never begun, frees what it holds', async () => {
    const digest = await put(pattern(30 * MIB, 27), MIB);
    for await (const piece of (await opened.store.read(digest, { offset: 0 })).bytes) {
      assert.ok(piece.length > 0);
      break;
    }
    await soon('the file is closed', async () => assert.equal(await opened.openFiles(), []));
    const stop = new AbortController();
    await opened.store.read(digest, { offset: 0 }, stop.signal);
    stop.abort();
  });

  test('a cancelled append ends soon and keeps what was acknowledged', async () => {
    const data = pattern(9 * MIB, 28);
    const stop = new AbortController();
    const checkpoints: Checkpoint[] = [];
    const cut = append(await begin(), endless(pieces(data, 300_000)), checkpoints, stop.signal);
    await soon('a checkpoint', async () => assert.ok(checkpoints.length > 0));
    stop.abort();
    await finished(rejects('CANCELLED', () => cut));
    await soon('the file is closed', async () => assert.equal(await opened.openFiles(), []));
    const from = checkpoints.at(-1);
    assert.ok(from);
    const { session } = await append(from.session, pieces(data.subarray(from.offset), 300_000));
    await commit(session, digestOf(data));
    await assertStored(data);
  });

  test('lists blobs in order, from anywhere', async () => {
    const digests: Digest[] = [];
    for (let i = 0; i < 12; i++) digests.push(await put(Buffer.from(`blob ${i}`)));
    const data = Buffer.from('blob 512');
    const long = digestOf(data, 'sha512');
    const { session } = await append(await begin(), pieces(data, 3));
    await commit(session, long);
    digests.sort();
    digests.push(long);
    const list = async (after?: Digest) => {
      const found: Digest[] = [];
      for await (const { digest, size, modifiedMs } of opened.store.list(after)) {
        assert.is(size, await opened.store.stat(digest));
        assert.ok(Math.abs(modifiedMs - Date.now()) < 60_000);
        found.push(digest);
      }
      return found;
    };
    assert.equal(await list(), digests);
    assert.equal(await list(digests[4]), digests.slice(5));
    assert.equal(
      await list(digestOf(Buffer.from('not there'))),
      digests.filter(each => each > digestOf(Buffer.from('not there'))),
    );
    assert.equal(await list(long), []);
    for await (const first of opened.store.list(undefined)) {
      assert.is(first.digest, digests[0]);
      break;
    }
  });

  test('a blob that is removed while it is read never gives wrong bytes', async () => {
    const data = pattern(30 * MIB, 29);
    const digest = await put(data, MIB);
    const { bytes } = await opened.store.read(digest, { offset: 0 });
    const read: Buffer[] = [];
    try {
      for await (const piece of bytes) {
        if (read.length === 0) await opened.store.remove(digest);
        read.push(piece);
      }
      assert.ok(Buffer.concat(read).equals(data), 'a reader that has it open may finish');
    } catch (error) {
      await rejects('BLOB_UNKNOWN', () => Promise.reject(error));
    }
    assert.is(await opened.store.stat(digest), undefined);
  });

  test.run();
}

function digestOfRepeated(block: Buffer, times: number): Digest {
  const hash = newHash('sha256');
  for (let i = 0; i < times; i++) hash.update(block);
  return endHash('sha256', hash);
}
