/** Describe: which location this node serves, and with what. */
import { readFile } from 'node:fs/promises';
import type { DescribeRequest__Output } from '../../proto/generated/entrepot/storage/v1/DescribeRequest.js';
import type { DescribeResponse } from '../../proto/generated/entrepot/storage/v1/DescribeResponse.js';
import { canSign } from '../engines/engine.js';
import type { Parts } from './service.js';
import { MAX_APPEND_BYTES } from './uploads.js';

export function describeHandlers({ engine, location, version, identity, make }: Parts) {
  return {
    Describe: make.unary<DescribeRequest__Output, DescribeResponse>(async () => ({
      location,
      locationId: identity(),
      engine: engine.driver,
      capabilities: { signUrl: canSign(engine), ...engine.capabilities },
      version,
      congestionControl: await congestionControl(),
      maxAppendBytes: MAX_APPEND_BYTES,
    })),
  };
}

/** The one that the kernel gives to new connections, in this network namespace; it may change while we run. */
async function congestionControl(): Promise<string> {
  try {
    return (await readFile('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8')).trim();
  } catch {
    return '';
  }
}
