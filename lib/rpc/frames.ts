/**
 * A faster way to write and read the few messages that carry a blob's bytes: those that are one long `bytes` field, and
 * at most one number before it.
 *
 * Protobuf.js copies the bytes into a message of its own, and grpc-js that message into another one, behind a prefix of
 * five bytes. Here they are copied once, straight behind that prefix; and nothing is copied, nor looked up, on reading.
 *
 * The .proto stays the contract: whatever is not exactly of the plain form (other fields, an order of its own, a length
 * that is not right) is left to protobuf.js, on both sides. So are small messages, which cost nothing either way.
 */
import type { MethodDefinition } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';

/** How the bytes stand in a message. */
interface Form {
  /** The number of the `bytes` field, at most 15. */
  readonly data: number;
  /** The number of the field `size` before it, if there is one, at most 15. */
  readonly size?: number;
  /** The oneof that the bytes are one case of. */
  readonly oneof?: string;
}

type Plain = Record<string, unknown>;
type Serialize = (message: Plain) => Buffer;
type Deserialize = (bytes: Buffer) => Plain;

/** The wire types of protobuf. */
const VARINT = 0;
const BYTES = 2;

/** Below that it is not worth the while. */
const LEAST_BYTES = 4_096;

/** A number of up to 2^53 takes eight bytes, a length five; and two tags. */
const MOST_HEAD_BYTES = 16;

/** The same definitions; of the named messages of a service's methods those with bytes in them are read and written faster. */
export function withFrames(
  definitions: PackageDefinition,
  service: string,
  frames: Readonly<Record<string, { readonly request?: Form; readonly response?: Form }>>,
): PackageDefinition {
  const methods = definitions[service] as unknown as Record<string, MethodDefinition<Plain, Plain>>;
  const faster = Object.entries(frames).map(([name, { request, response }]) => {
    const method = methods[name];
    if (!method) throw new Error(`${service} has no method ${name}`);
    return [
      name,
      {
        ...method,
        ...(request && {
          requestSerialize: frameWriter(request, method.requestSerialize),
          requestDeserialize: frameReader(request, method.requestDeserialize),
        }),
        ...(response && {
          responseSerialize: frameWriter(response, method.responseSerialize),
          responseDeserialize: frameReader(response, method.responseDeserialize),
        }),
      },
    ];
  });
  return { ...definitions, [service]: { ...methods, ...Object.fromEntries(faster) } } as PackageDefinition;
}

/**
 * A message that is not in one piece yet. Of what a serializer returns, grpc-js (1.14) asks only the length, and then has
 * it copied to where it belongs: so that is when the bytes are put together.
 */
class Frame {
  readonly #head: Buffer;
  readonly #data: Buffer;
  readonly length: number;
  readonly byteLength: number;

  constructor(head: Buffer, data: Buffer) {
    this.#head = head;
    this.#data = data;
    this.length = head.length + data.length;
    this.byteLength = this.length;
  }

  copy(target: Buffer, at = 0): number {
    this.#head.copy(target, at);
    this.#data.copy(target, at + this.#head.length);
    return this.length;
  }
}

/** Writes messages of this form. */
function frameWriter(form: Form, otherwise: Serialize): Serialize {
  const known = ['data', form.oneof ?? '', form.size === undefined ? '' : 'size'];
  return message => {
    const { data, size } = message;
    const isPlain = Buffer.isBuffer(data) && data.length >= LEAST_BYTES && (size === undefined || isCount(size));
    if (!isPlain || !Object.keys(message).every(key => known.includes(key))) return otherwise(message);
    const head = Buffer.allocUnsafe(MOST_HEAD_BYTES);
    let at = 0;
    if (form.size !== undefined && size !== undefined) {
      head[at++] = (form.size << 3) | VARINT;
      at = writeVarint(head, at, size);
    }
    head[at++] = (form.data << 3) | BYTES;
    at = writeVarint(head, at, data.length);
    return new Frame(head.subarray(0, at), data) as unknown as Buffer;
  };
}

/** Reads messages of this form. Their data lies in the memory of what was received. */
function frameReader(form: Form, otherwise: Deserialize): Deserialize {
  return bytes => {
    if (bytes.length < LEAST_BYTES) return otherwise(bytes);
    let at = 0;
    let size = 0;
    if (form.size !== undefined && bytes[at] === ((form.size << 3) | VARINT)) {
      const read = readVarint(bytes, at + 1);
      if (!read) return otherwise(bytes);
      [size, at] = read;
    }
    if (bytes[at] !== ((form.data << 3) | BYTES)) return otherwise(bytes);
    const length = readVarint(bytes, at + 1);
    if (!length || length[0] !== bytes.length - length[1]) return otherwise(bytes);
    const data = bytes.subarray(length[1]);
    if (form.oneof !== undefined) return { data, [form.oneof]: 'data' };
    return form.size === undefined ? { data } : { size, data };
  };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function writeVarint(target: Buffer, start: number, value: number): number {
  let at = start;
  let left = value;
  for (; left > 127; left = Math.floor(left / 128)) target[at++] = (left % 128) | 128;
  target[at++] = left;
  return at;
}

/** The number at `start`, and where it ends; undefined if it is cut off, or more than 2^53 - 1. */
function readVarint(bytes: Buffer, start: number): [value: number, end: number] | undefined {
  let value = 0;
  let unit = 1;
  for (let at = start; at < start + 8; at++, unit *= 128) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    value += (byte & 127) * unit;
    if (byte < 128) return Number.isSafeInteger(value) ? [value, at + 1] : undefined;
  }
  return undefined;
}
