/** Who makes a request, and what it may do. */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { AnonymousAccess } from '../../lib/config/config.js';
import { allRights, noRights, pullRights, type Rights } from '../../lib/users/rights.js';
import { isPassedOn } from '../http/proxy-protocol.js';
import type { Scope } from './scope.js';

export interface Caller {
  /** Undefined: it has not signed in. */
  readonly name: string | undefined;
  /** What it may do, whatever its token is for. */
  readonly rights: Rights;
  /** What its token is for; undefined: no token limits it. */
  readonly scope: Scope | undefined;
  /** Why it is turned away whatever it asks, for example an expired token; told to it. */
  readonly flaw?: string;
}

/** Who a request is from until that is known: nobody, who may do nothing. */
export const nobody: Caller = { name: undefined, rights: noRights, scope: undefined };

/** What callers may do without an account, where there are accounts. */
export function anonymousRights(access: AnonymousAccess | undefined): Rights {
  if (access === 'push') return allRights;
  return access === 'pull' ? pullRights : noRights;
}

/**
 * What callers may do where there are no accounts. Unless `ENTREPOT_ANONYMOUS_ACCESS` opens the registry by name, it
 * serves its own machine only.
 */
export function rightsWithoutAccounts(access: AnonymousAccess | undefined, request: IncomingMessage): Rights {
  if (access === undefined) return isOfThisMachine(request) ? allRights : noRights;
  return anonymousRights(access);
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Headers that proxies add; a request with one of them did not begin on this machine, as far as we can know. */
const PROXY_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via'];

/**
 * Whether the request was made on this machine, and not handed on by a proxy that may have got it from anywhere. What a
 * browser on this machine sends for some web page does not count as this machine's: such a request has an `Origin`, or
 * names the page's own host, which its owner had resolved to a loopback address.
 */
export function isOfThisMachine(req: IncomingMessage): boolean {
  const { headers, socket } = req;
  const proxied = isPassedOn(req) || PROXY_HEADERS.some(name => headers[name] !== undefined);
  const ofBrowser = headers.origin !== undefined || !isLocalName(headers.host);
  return !proxied && !ofBrowser && isLoopback(socket.remoteAddress);
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
