/** How a command's calls reach a worker. */
import { readFileSync } from 'node:fs';
import type { AdminAccess } from '../../lib/config/admin.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { Security } from '../../lib/rpc/security.js';
import { EXIT, Failure } from '../exit.js';

/** With the certificate of this environment, or with the authorities' alone and a token. */
export function dialOf({ authority, token }: AdminAccess, security: Security) {
  const options = channelOptions(NEAR_WINDOW);
  if (authority === undefined || token === undefined)
    return (address: string) => security.dial(address, 'worker', options);
  const ca = readAuthority(authority);
  return (address: string) => Security.dialWithAuthority(address, 'worker', options, ca);
}

function readAuthority(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Failure(EXIT.failed, `ENTREPOT_GRPC_TLS_CA: ${error instanceof Error ? error.message : error}`);
  }
}

export type Dial = ReturnType<typeof dialOf>;
