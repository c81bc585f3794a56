/**
 * The faster way to write and read messages with a blob's bytes says the same as protobuf.js, whatever it is given: each
 * way reads what the other has written, and both fail alike.
 */
import { isDeepStrictEqual } from 'node:util';
import { Server, ServerCredentials, type ServerWritableStream, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { CrossingStub, StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { ReadBlobResponse__Output } from '../../proto/generated/entrepot/storage/v1/ReadBlobResponse.js';
import { rejects } from '../support/rejects.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('frames');

type Message = Record<string, unknown>;
interface Codec {
  write(message: Message): Buffer;
  read(bytes: Buffer): unknown;
}

/** How the stubs do it, and protobuf.js by itself. */
interface Way {
  readonly name: string;
  readonly ours: Codec;
  readonly theirs: Codec;
  /** Messages of this kind. */
  readonly messages: fc.Arbitrary<Message>;
}

const OPTIONS = { longs: Number, enums: String, defaults: true, oneofs: true, includeDirs: ['proto'] };

/** Above and below the size from which they are treated in another way. */
const data = fc
  .record({ length: fc.oneof(fc.nat(9_000), fc.constantFrom(4_095, 4_096, 16_384, 131_072)), seed: fc.nat(255) })
  .map(({ length, seed }) => Buffer.alloc(length, seed));
const size = fc.oneof(fc.constant(0), fc.maxSafeNat());

const ways: readonly Way[] = [
  way('storage', 'Storage', 'ReadBlob', 'response', [{ data, size }, { data }, { size }]),
  way('storage', 'Storage', 'AppendUpload', 'request', [
    { data },
    { data, part: fc.constant('data') },
    { header: fc.record({ session: data, offset: size }) },
    // Of two cases of a oneof the one counts that protobuf.js says.
    { header: fc.record({ session: data, offset: size }), data },
  ]),
  way('crossing', 'Crossing', 'Follow', 'response', [
    { data },
    { waiting: fc.constant({}) },
    { end: fc.constant({ reason: 'END_REASON_STORED', worker: 'w' }) },
  ]),
];

for (const { name, ours, theirs, messages } of ways) {
  test(`${name}: what either writes the other reads`, () => {
    fc.assert(
      fc.property(messages, message => {
        const written = ours.write(message);
        same(written, theirs.write(message));
        same(ours.read(written), theirs.read(written));
      }),
      { numRuns: 200 },
    );
  });

  test(`${name}: whatever is cut off, added, or in disorder is read alike, or refused alike`, () => {
    const mangled = fc.record({ message: messages, cut: fc.nat(20), front: fc.nat(12), unknown: fc.boolean() });
    fc.assert(
      fc.property(mangled, ({ message, cut, front, unknown }) => {
        const written = theirs.write(message);
        // Field 15, a number: nobody knows it.
        const more = unknown ? Buffer.from([(15 << 3) | 0, 7]) : Buffer.alloc(0);
        for (const bytes of [
          written.subarray(0, Math.max(0, written.length - cut)),
          Buffer.concat([written, more]),
          Buffer.concat([more, written]),
          Buffer.concat([written, written]),
          Buffer.concat([written.subarray(front), written.subarray(0, front)]),
        ]) {
          same(attempt(ours, bytes), attempt(theirs, bytes));
        }
      }),
      { numRuns: 200 },
    );
  });
}

test('large numbers, and those that are no sizes, are left to protobuf.js', () => {
  const [{ ours, theirs }] = ways as [Way];
  const data = Buffer.alloc(5_000, 1);
  for (const size of [2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER, -1, '12']) {
    const written = theirs.write({ size, data });
    same(ours.write({ size, data }), written);
    same(attempt(ours, written), attempt(theirs, written));
  }
});

test('a message that is cut off fails the call with a status', async () => {
  const whole = Buffer.from((ways[0] as Way).theirs.write({ size: 5_000, data: Buffer.alloc(5_000) }));
  const definition = StorageStub.service.ReadBlob;
  const asIs = (bytes: Buffer) => bytes;
  const server = new Server();
  const service = { ReadBlob: { ...definition, responseSerialize: asIs } } as unknown as ServiceDefinition;
  server.addService(service, {
    ReadBlob(call: ServerWritableStream<unknown, Buffer>) {
      call.write(whole);
      call.write(whole.subarray(0, 4_999));
      call.end();
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const client = new StorageStub(
    ...Security.local.dial(`127.0.0.1:${port}`, 'storage-proxy', channelOptions(NEAR_WINDOW)),
  );
  atEnd(() => {
    client.close();
    server.forceShutdown();
  });
  const messages = readMessages<ReadBlobResponse__Output>(client.readBlob({ digest: '', offset: 0, limit: 0 }));
  const first = await messages.next();
  assert.is((first.value as ReadBlobResponse__Output).data.length, 5_000);
  await rejects('INTERNAL', () => messages.next());
});

function way(
  file: 'storage' | 'crossing',
  service: string,
  method: string,
  side: 'request' | 'response',
  kinds: readonly Record<string, fc.Arbitrary<unknown>>[],
): Way {
  const definitions = loadSync(`entrepot/${file}/v1/${file}.proto`, OPTIONS);
  const plain = (definitions[`entrepot.${file}.v1.${service}`] as ServiceDefinition)[method];
  const stub: ServiceDefinition = file === 'storage' ? StorageStub.service : CrossingStub.service;
  return {
    name: `${method}, ${side}`,
    ours: codec(stub[method], side),
    theirs: codec(plain, side),
    messages: fc.oneof(...kinds.map(kind => fc.record(kind))),
  };
}

function codec(method: ServiceDefinition[string] | undefined, side: 'request' | 'response'): Codec {
  if (!method) throw new Error('no such method');
  return {
    // As grpc-js does it: into a buffer of its own, behind a prefix.
    write: message => {
      const serialized = method[`${side}Serialize`](message);
      const target = Buffer.alloc(serialized.length + 5);
      assert.is(serialized.length, serialized.byteLength);
      serialized.copy(target, 5);
      return target.subarray(5);
    },
    read: bytes => method[`${side}Deserialize`](bytes),
  };
}

/** Not with uvu's `equal`, which tells of a difference by writing out all bytes. */
function same(found: unknown, expected: unknown): void {
  assert.ok(isDeepStrictEqual(found, expected), 'they differ');
}

function attempt({ read }: Codec, bytes: Buffer): unknown {
  try {
    return read(bytes);
  } catch {
    return 'refused';
  }
}

test.run();
