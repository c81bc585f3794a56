/** What only an engine over a real S3 server can show; each case leaves the bucket as it found it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import * as assert from 'uvu/assert';
import { s3Drivers } from '../../lib/config/engines/s3.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { StatusError } from '../../lib/rpc/errors.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import type { Checkpoint, Engine } from '../../storage-proxy/engines/engine.js';
import type { Tuning } from '../../storage-proxy/engines/s3/staging.js';
import { S3Engine } from '../../storage-proxy/engines/s3.js';
import { makeBucket, radosArguments, type S3Server, type TestBucket } from '../stores/store.js';
import { collect, endless, pattern, pieces } from '../support/bytes.js';
import { storeAt } from '../support/one-node.js';
import { freePort } from '../support/ports.js';
import { rejects } from '../support/rejects.js';
import { atEnd, suite } from '../support/suite.js';
import { throttled } from '../support/throttle.js';
import { soon } from '../support/wait.js';
import { startNode } from './node.js';

const MIB = 1024 * 1024;

export interface S3Abilities {
  /** Whether the server's space can be bounded (`limit`). Default true. */
  readonly canBeFull?: boolean;
}

export function s3Cases(
  name: string,
  start: () => Promise<S3Server>,
  needs: readonly string[],
  { canBeFull = true }: S3Abilities = {},
): void {
  const test = suite(`S3: ${name}`, { needs, timeoutMs: 120_000, fileTimeoutMs: 900_000 });
  let server: S3Server;
  let bucket: TestBucket;
  let stored: Set<Digest>;

  const openEngine = (changes: Readonly<Record<string, unknown>> = {}, tuning?: Tuning) => {
    const form = s3Drivers.RadosGWStorage;
    assert.ok(form);
    return new S3Engine(form.parse(radosArguments(bucket, changes)), tuning);
  };
  const append = (engine: Pick<Engine, 'append'>, session: Buffer, data: Buffer, pieceBytes = 300_000) =>
    engine.append(session, pieces(data, pieceBytes), () => {});
  const commit = async (engine: Pick<Engine, 'commit'>, session: Buffer, digest: Digest) => {
    stored.add(digest);
    return engine.commit(session, digest);
  };
  const assertStored = async (engine: Pick<Engine, 'read'>, data: Buffer, digest = digestOf(data)) => {
    const { size, bytes } = await engine.read(digest, { offset: 0 });
    assert.is(size, data.length);
    assert.ok((await collect(bytes)).equals(data), 'the bytes that were read are those that were written');
  };

  test.before(async () => {
    server = await start();
    bucket = await makeBucket(server);
    atEnd(() => bucket.client.destroy());
    assert.ok((await openEngine().probe()).locationId);
  });
  test.before.each(() => {
    stored = new Set();
  });
  test.after.each(async () => {
    const engine = openEngine();
    for (const digest of stored) await engine.remove(digest);
    try {
      await soon('nothing is left behind', async () => assert.equal(await bucket.content(), []), 5_000);
    } finally {
      await bucket.empty();
    }
  });

  test('sizes around those of parts, in one append and in two, with and without a known digest', async () => {
    const engine = openEngine();
    const sizes = [5, 8, 13, 16].flatMap(size => [size * MIB - 1, size * MIB, size * MIB + 1]);
    for (const size of sizes) {
      const data = pattern(size, size);
      const digest = digestOf(data);
      for (const plan of [{}, { digest }]) {
        for (const cut of [0, 5 * MIB - 1, size]) {
          let { session } = await engine.begin(plan);
          for (const part of [data.subarray(0, cut), data.subarray(cut)]) {
            if (part.length > 0) session = (await append(engine, session, part)).session;
          }
          assert.is(await commit(engine, session, digest), size);
          await assertStored(engine, data);
          await engine.remove(digest);
        }
      }
    }
  });

  test('an upload of many multipart uploads, copied in parts', async () => {
    const tuning = { maxParts: 2, copyWholeBytes: 10 * MIB, copyPartBytes: 6 * MIB };
    const data = pattern(61 * MIB + 5, 2);
    const digest = digestOf(data);
    for (const changes of [{}, { server_side_assembly: false }]) {
      const engine = openEngine(changes, tuning);
      for (const plan of [{}, { digest }]) {
        const half = await append(engine, (await engine.begin(plan)).session, data.subarray(0, 30 * MIB));
        const { session } = await append(engine, half.session, data.subarray(30 * MIB));
        assert.is(await commit(engine, session, digest), data.length);
        await assertStored(engine, data);
        await engine.remove(digest);
      }
    }
  });

  test('chunks of 1 KiB: more of them than a session names', async () => {
    const engine = openEngine();
    const data = pattern(300 * 1024, 3);
    let { session } = await engine.begin({});
    for (let at = 0; at < data.length; at += 1024) {
      session = (await append(engine, session, data.subarray(at, at + 1024))).session;
      assert.ok(session.length < 16 * 1024);
    }
    await commit(engine, session, digestOf(data));
    await assertStored(engine, data);
  });

  test('a blob that is stored twice is left alone, and one that was damaged is mended', async () => {
    const engine = openEngine();
    const data = pattern(9 * MIB, 4);
    const digest = digestOf(data);
    const put = async () => {
      const { session } = await append(engine, (await engine.begin({})).session, data);
      await commit(engine, session, digest);
      await assertStored(engine, data);
    };
    await put();
    const Key = `datastorage/registry/sha256/${digest.slice(7, 9)}/${digest.slice(7)}`;
    const head = () => bucket.client.send(new HeadObjectCommand({ Bucket: bucket.name, Key }));
    const { LastModified } = await head();
    await sleep(1_100);
    await put();
    assert.equal((await head()).LastModified, LastModified, 'it is still the first one');
    // Deleted first: Swift would keep the parts of what is overwritten.
    await openEngine().remove(digest);
    await bucket.client.send(new PutObjectCommand({ Bucket: bucket.name, Key, Body: pattern(data.length, 99) }));
    await put();
  });

  test('what begins with a known digest and goes on elsewhere begins again', async () => {
    const data = pattern(20 * MIB, 5);
    const digest = digestOf(data);
    const [first, second] = [openEngine(), openEngine()];
    const { session } = await append(first, (await first.begin({ digest })).session, data.subarray(0, 17 * MIB));
    await rejects('UPLOAD_UNKNOWN', () => append(second, session, data.subarray(17 * MIB)));
    await rejects('UPLOAD_UNKNOWN', () => second.commit(session, digest));
    // The one that began it still can.
    const whole = await append(first, session, data.subarray(17 * MIB));
    await commit(first, whole.session, digest);
    await assertStored(second, data);
  });

  test('killed ten times at random bytes, and gone on with at another node', async () => {
    const data = pattern(150 * MIB, 6);
    const digest = digestOf(data);
    const ports = [await freePort(), await freePort()];
    const nodes = await Promise.all(ports.map(port => startNode({ bucket, port })));
    const stubs = nodes.map(
      node => new StorageStub(...Security.local.dial(node.address, 'storage-proxy', channelOptions(NEAR_WINDOW))),
    );
    const stores = stubs.map(stub => storeAt(stub));
    try {
      let at: Checkpoint | undefined;
      for (let round = 0; round < 10; round++) {
        const [store, node, port] = [stores[round % 2], nodes[round % 2], ports[round % 2]];
        assert.ok(store && node && port);
        at ??= await store.begin({});
        const end = Math.min(data.length, at.offset + Math.floor(Math.random() * 25 * MIB));
        const stop = new AbortController();
        const note = (checkpoint: Checkpoint) => {
          at = checkpoint;
        };
        const given = new AbortController();
        const source = endless(announcing(pieces(data.subarray(at.offset, end), 100_000), given));
        const cut = store.append(at.session, source, note, stop.signal).then(undefined, () => {});
        await sleep(20_000, undefined, { signal: given.signal }).catch(() => {});
        await sleep(Math.random() * 100);
        node.kill('SIGKILL');
        await node.exited;
        await server.quiet?.();
        stop.abort();
        await cut;
        nodes[round % 2] = await startNode({ bucket, port });
      }
      const store = stores[0];
      assert.ok(at && store);
      await soon('the node is back', async () => void (await store.describe()), 10_000);
      console.log(`  ${name}: ${(at.offset / MIB).toFixed(1)} of 150 MiB were acknowledged after ten kills`);
      const { session } = await append(store, at.session, data.subarray(at.offset));
      assert.is(await commit(store, session, digest), data.length);
      await assertStored(store, data);
      // What a node had been writing to when it was killed, and told nobody of, went with the upload.
    } finally {
      for (const stub of stubs) stub.close();
      for (const node of nodes) await node.stop();
    }
  });

  test('wrong credentials are named, and not repeated', async () => {
    const secret = 'wrong-secret-0123456789';
    for (const changes of [{ secret_key: secret }, { access_key: 'nobody-0123456789' }]) {
      const engine = openEngine(changes);
      const works: (() => Promise<unknown>)[] = [() => engine.begin({})];
      if (!server.hidesUnknownKeys || 'secret_key' in changes)
        works.push(() => engine.stat(digestOf(Buffer.from('x'))));
      for (const work of works) {
        const error = await failure(work);
        assert.is(error.reason, 'STORE_UNREACHABLE');
        assert.match(error.message, 'access_key and secret_key');
        assert.not.match(`${error.message} ${error.cause}`, /0123456789/);
      }
      assert.ok((await engine.probe()).readError);
    }
  });

  test('a bucket that does not exist is named', async () => {
    const engine = openEngine({ bucket_name: 'nobody-made-this-bucket' });
    for (const work of [() => engine.begin({}), () => engine.stat(digestOf(Buffer.from('x')))]) {
      const error = await failure(work);
      assert.is(error.reason, 'STORE_UNREACHABLE');
      assert.match(error.message, 'bucket_name');
    }
    assert.match((await engine.probe()).readError?.message ?? '', 'bucket_name');
  });

  test('nobody listens at the address', async () => {
    const engine = openEngine({ port: await freePort() });
    const error = await failure(() => engine.begin({}));
    assert.is(error.reason, 'STORE_UNREACHABLE');
    assert.match(error.message, 'hostname, port and is_secure');
  });

  test('a server that is stopped in the middle: unreachable, soon, and the upload goes on after it', async () => {
    const engine = openEngine();
    const data = pattern(30 * MIB, 7);
    const checkpoints: Checkpoint[] = [];
    async function* source() {
      yield* pieces(data.subarray(0, 9 * MIB), MIB);
      await soon('a checkpoint', async () => assert.ok(checkpoints.length > 0), 10_000);
      server.front.kill('SIGSTOP');
      yield* pieces(data.subarray(9 * MIB), MIB);
    }
    const { session } = await engine.begin({});
    const begun = Date.now();
    try {
      const cut = rejects('STORE_UNREACHABLE', () =>
        engine.append(session, source(), checkpoint => checkpoints.push(checkpoint)),
      );
      await cut;
      const appendMs = Date.now() - begun;
      await rejects('STORE_UNREACHABLE', () => engine.stat(digestOf(data)));
      const statMs = Date.now() - begun - appendMs;
      console.log(`  ${name}: a stopped server: append failed after ${appendMs} ms, stat after ${statMs} ms`);
      assert.ok(appendMs < 45_000 && statMs < 15_000);
    } finally {
      server.front.kill('SIGCONT');
    }
    const from = checkpoints.at(-1);
    assert.ok(from);
    const last = await append(engine, from.session, data.subarray(from.offset));
    await commit(engine, last.session, digestOf(data));
    await assertStored(engine, data);
  });

  const storeThatIsFull = async () => {
    const { limit } = server;
    assert.ok(limit, 'this server can be bounded');
    const engine = openEngine();
    const small = Buffer.from('small');
    const { session } = await append(engine, (await engine.begin({})).session, small);
    await commit(engine, session, digestOf(small));
    // Less than a part: Swift looks at what it has cached of the usage.
    await limit(bucket.name, 6 * MIB);
    try {
      const upload = await engine.begin({}).catch(() => undefined);
      const data = pattern(60 * MIB, 8);
      await rejects('DISK_FULL', async () => append(engine, upload?.session ?? session, data));
      await assertStored(engine, small);
      if (upload) await engine.abort(upload.session);
    } finally {
      await limit(bucket.name, undefined);
    }
  };
  if (canBeFull) test('a store that is full says so, and reading goes on', storeThatIsFull);

  test('a slow server is no broken server', async () => {
    const { port } = await throttled(server, 3 * MIB);
    const engine = openEngine({ port });
    const data = pattern(9 * MIB, 9);
    const { session } = await append(engine, (await engine.begin({})).session, data);
    await commit(engine, session, digestOf(data));
    await assertStored(engine, data);
  });

  test(
    '3,000 keys are listed in order, and deleted',
    async () => {
      const engine = openEngine();
      const blobs = Array.from({ length: 3_000 }, (_, i) => Buffer.from(`blob ${i}`));
      const byTwelve = async <T>(items: T[], work: (item: T) => Promise<unknown>) => {
        const queue = items.values();
        await Promise.all(
          Array.from({ length: 12 }, async () => {
            for (const item of queue) await work(item);
          }),
        );
      };
      await byTwelve(blobs, async data => {
        const digest = digestOf(data);
        const { session } = await append(engine, (await engine.begin({ digest })).session, data);
        await engine.commit(session, digest);
      });
      const wanted = blobs.map(data => digestOf(data)).sort();
      const found: Digest[] = [];
      for await (const { digest } of engine.list(undefined)) found.push(digest);
      assert.equal(found, wanted);
      const rest: Digest[] = [];
      for await (const { digest } of engine.list(wanted[1_234])) rest.push(digest);
      assert.equal(rest, wanted.slice(1_235));
      await byTwelve(wanted, digest => engine.remove(digest));
      for await (const { digest } of engine.list(undefined)) assert.unreachable(`${digest} is still listed`);
    },
    { timeoutMs: 300_000 },
  );

  test('uploads that nobody goes on with are found, and those that are written to are not', async () => {
    const engine = openEngine();
    const large = pattern(9 * MIB, 10);
    const digest = digestOf(pattern(20 * MIB, 11));
    await engine.begin({});
    await append(engine, (await engine.begin({})).session, Buffer.from('a small chunk'));
    await append(engine, (await engine.begin({})).session, large);
    await append(engine, (await engine.begin({ digest })).session, large);
    for await (const { session } of engine.staleUploads(Date.now() - 60_000))
      assert.unreachable(`a new upload is stale: ${session}`);
    let found = 0;
    for await (const { session, modifiedMs } of engine.staleUploads(Date.now() + 60_000)) {
      assert.ok(Math.abs(Date.now() - modifiedMs) < 60_000);
      await engine.abort(session);
      found++;
    }
    assert.ok(found >= 4);
  });

  test('two nodes that are new to a bucket agree on its identity', async () => {
    const probes = await Promise.all(
      [openEngine({ storage_path: '/other' }), openEngine({ storage_path: '/other' })].map(each => each.probe()),
    );
    assert.ok(probes[0]?.locationId);
    assert.is(probes[0].locationId, probes[1]?.locationId);
  });

  test.run();
}

/** The source; tells when all of it was taken. */
async function* announcing(source: AsyncIterable<Buffer>, taken: AbortController): AsyncGenerator<Buffer> {
  yield* source;
  taken.abort();
}

async function failure(work: () => Promise<unknown>): Promise<StatusError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
  throw new Error('it should have failed');
}
