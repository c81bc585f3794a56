/** The error of a process that cannot listen where it should: why, and which key chooses another address. */
import { formatAddress } from './address.js';
import type { Address } from './config.js';

/** What the system's words mean to whoever has to mend it. */
const REASONS: readonly (readonly [code: string, reason: string])[] = [
  ['EADDRINUSE', 'something listens there already'],
  ['EADDRNOTAVAIL', 'this machine has no such address'],
  ['EACCES', 'this user may not listen on that port'],
];

/** `key` is the one of the configuration that the address comes from. */
export function cannotListen(address: Address, key: string, cause: Error): Error {
  // gRPC wraps what the system says into a sentence of its own.
  const reason = REASONS.find(([code]) => cause.message.includes(code))?.[1] ?? cause.message;
  return new Error(`cannot listen on ${formatAddress(address)}: ${reason} (${key} chooses another address)`, { cause });
}
