/** `host:port`, with IPv6 as `[::1]:8080`. */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import type { Address } from './config.js';

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$/;

/** Parses `host:port`; undefined if it is not one. Port 0 (any free port) is only for listening: callers that connect refuse it. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})$/.exec(text);
  if (!match) return undefined;
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > 65535) return undefined;
  if (bracketed !== undefined) return isIPv6(bracketed) ? { host: bracketed, port } : undefined;
  const host = plain ?? '';
  // Four numbers that are no IPv4 address (256.0.0.1) would otherwise pass as a host name.
  const valid = isIPv4(host) || (HOST_NAME.test(host) && !/^[0-9.]+$/.test(host));
  return valid ? { host, port } : undefined;
}

/** `host:port` again. */
export function formatAddress(address: Address): string {
  return isIPv6(address.host) ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** Whether only this machine can reach the host. A name is taken for reachable from outside, except `localhost`. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 0) return host.toLowerCase() === 'localhost';
  return LOOPBACK.check(host, isIPv4(host) ? 'ipv4' : 'ipv6');
}
