/** Where a request comes from, as far as it can be believed. */
import type { IncomingMessage } from 'node:http';
import { isIP, isIPv6 } from 'node:net';
import { Networks, plainAddress } from '../http/networks.js';
import { peerOf } from '../http/proxy-protocol.js';

export class ClientAddresses {
  readonly #trusted: Networks;

  /** `trusted`: addresses and networks (`10.0.0.0/8`) of proxies, whose `X-Forwarded-For` is believed. */
  constructor(trusted: readonly string[]) {
    this.#trusted = new Networks(trusted);
  }

  /**
   * The client's address. Each proxy adds the one that it was called from at the end of the list, so the list is read
   * from there for as long as those who wrote it are trusted. What stands before may be made up.
   */
  of(req: IncomingMessage): string {
    let address = peerOf(req);
    const header = req.headers['x-forwarded-for'];
    const list = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',').reverse();
    for (const text of list) {
      const before = plainAddress(text.trim());
      if (!this.#trusted.has(address) || isIP(before) === 0) break;
      address = before;
    }
    return address;
  }
}

/** What one client can have many of counts as one: a whole IPv6 network of 64 bits. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [left = '', right] = address.split('%', 1)[0]?.split('::') ?? [];
  const groups = left === '' ? [] : left.split(':');
  const after = right === undefined || right === '' ? [] : right.split(':');
  // `::` stands for as many zeros as are missing.
  const zeros = right === undefined ? 0 : Math.max(0, 8 - groups.length - after.length);
  const all = [...groups, ...Array<string>(zeros).fill('0'), ...after];
  return `${all
    .slice(0, 4)
    .map(group => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
