/** Who makes a request. */
import type { IncomingMessage } from 'node:http';
import { BlockList } from 'node:net';

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

export function callerOf(req: IncomingMessage): Caller {
  const proxied = PROXY_HEADERS.some(name => req.headers[name] !== undefined);
  return { kind: 'anonymous', loopback: !proxied && isLoopback(req.socket.remoteAddress) };
}

function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false;
  return loopback.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
}
