/** Addresses, and lists of addresses and networks. */
import { BlockList, isIP, isIPv6 } from 'node:net';

export class Networks {
  readonly #list = new BlockList();

  /** `networks`: addresses, and networks as `10.0.0.0/8`. */
  constructor(networks: readonly string[]) {
    for (const each of networks) {
      const [address = '', bits] = each.split('/');
      const family = isIPv6(address) ? 'ipv6' : 'ipv4';
      if (bits === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(bits), family);
    }
  }

  has(address: string): boolean {
    return isIP(address) !== 0 && this.#list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }
}

/** IPv4 as such, also where it came over an IPv6 socket. */
export function plainAddress(address = ''): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}
