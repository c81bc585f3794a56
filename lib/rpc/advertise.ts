/** Where other processes reach one that listens here, if nobody says otherwise. */
import { hostname } from 'node:os';
import type { Address } from '../config/config.js';
import { formatAddress } from './server.js';

const ALL_ADDRESSES: readonly string[] = ['0.0.0.0', '::'];

/** `host:port`; this machine's name where the listener is on all of its addresses. */
export function advertisedAddress({ host, port }: Address): string {
  return formatAddress({ host: ALL_ADDRESSES.includes(host) ? hostname() : host, port });
}
