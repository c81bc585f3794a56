/**
 * The header of the PROXY protocol, versions 1 and 2, with which a proxy that passes connections on says who opened them.
 * Pure: bytes in, a finding out. The form is HAProxy's, https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt.
 */
import { isIPv4, isIPv6 } from 'node:net';

export type ProxyHeader =
  /** The bytes are a beginning of one. */
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'wrong'; readonly reason: string }
  /** `length` bytes. `source`: the client's address; undefined if the proxy speaks for itself, or does not know. */
  | { readonly kind: 'header'; readonly length: number; readonly source: string | undefined };

const SIGNATURE_1 = Buffer.from('PROXY ');
const SIGNATURE_2 = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

/** With its line end. */
const LONGEST_1 = 107;

/** Of what follows the first 16 bytes: addresses, and things that we pass over. */
const LONGEST_2 = 4_096;

const INCOMPLETE = { kind: 'incomplete' } as const;

export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (beginsLike(bytes, SIGNATURE_2)) return bytes.length < 16 ? INCOMPLETE : parseVersion2(bytes);
  if (beginsLike(bytes, SIGNATURE_1)) return parseVersion1(bytes);
  return wrong('the connection does not begin with a header of the PROXY protocol');
}

/** Whether they agree as far as there are bytes. */
function beginsLike(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.subarray(0, length).equals(signature.subarray(0, length));
}

function parseVersion1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, LONGEST_1).indexOf('\r\n');
  if (end < 0) return bytes.length < LONGEST_1 ? INCOMPLETE : wrong('the line of version 1 does not end');
  const length = end + 2;
  const words = bytes.toString('latin1', 0, end).split(' ');
  const [, family, source = '', destination = '', ...ports] = words;
  if (family === 'UNKNOWN') return { kind: 'header', length, source: undefined };
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : () => false;
  if (!isAddress(source) || !isAddress(destination) || ports.length !== 2 || !ports.every(isPort))
    return wrong('the line of version 1 is not well formed');
  return { kind: 'header', length, source };
}

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

function parseVersion2(bytes: Buffer): ProxyHeader {
  const [version, command] = [bytes.readUInt8(12) >> 4, bytes.readUInt8(12) & 15];
  const [family, rest] = [bytes.readUInt8(13), bytes.readUInt16BE(14)];
  if (version !== 2) return wrong(`version ${version} is not known`);
  if (command > 1) return wrong(`command ${command} is not known`);
  if (rest > LONGEST_2) return wrong(`a header of ${rest} bytes is too long`);
  const length = 16 + rest;
  if (bytes.length < length) return INCOMPLETE;
  const addresses = command === 1 ? ADDRESSES[family] : undefined;
  if (!addresses) return { kind: 'header', length, source: undefined };
  if (rest < addresses.length) return wrong('the header is too short for its addresses');
  return { kind: 'header', length, source: addresses.source(bytes.subarray(16)) };
}

/** TCP over IPv4 and IPv6; of everything else (Unix sockets, UDP) nothing is to be learned. */
const ADDRESSES: Readonly<Record<number, { length: number; source(bytes: Buffer): string }>> = {
  17: { length: 12, source: bytes => bytes.subarray(0, 4).join('.') },
  33: {
    length: 36,
    source: bytes => Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(group * 2).toString(16)).join(':'),
  },
};

function wrong(reason: string): ProxyHeader {
  return { kind: 'wrong', reason };
}
