/** Who makes a request. */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** Until accounts exist, everyone is anonymous; some are on this machine. */
export interface Caller {
  readonly kind: 'anonymous';
  /** The request was made on this machine, and not handed on by a proxy that may have got it from anywhere. */
  readonly loopback: boolean;
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Headers that proxies add; a request with one of them did not begin on this machine, as far as we can know. */
const PROXY_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via'];

/**
 * Who makes this request. What a browser on this machine sends for some web page does not count as this machine's: such
 * a request has an `Origin`, or names the page's own host, which its owner had resolved to a loopback address.
 */
export function callerOf({ headers, socket }: IncomingMessage): Caller {
  const proxied = PROXY_HEADERS.some(name => headers[name] !== undefined);
  const ofBrowser = headers.origin !== undefined || !isLocalName(headers.host);
  return { kind: 'anonymous', loopback: !proxied && !ofBrowser && isLoopback(socket.remoteAddress) };
}

/** Whether a Host header names this machine in a way that no DNS server has a say in. */
function isLocalName(host: string | undefined): boolean {
  const name = host?.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1') ?? '';
  return name === 'localhost' || (isIP(name) !== 0 && isLoopback(name));
}

function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false;
  return loopback.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
}
