/** Describe: which location this node serves, and with what. */
import type { DescribeRequest__Output } from '../../proto/generated/entrepot/storage/v1/DescribeRequest.js';
import type { DescribeResponse } from '../../proto/generated/entrepot/storage/v1/DescribeResponse.js';
import { canSign } from '../engines/engine.js';
import type { Parts } from './service.js';

export function describeHandlers({ engine, location, version, identity, make }: Parts) {
  return {
    Describe: make.unary<DescribeRequest__Output, DescribeResponse>(async () => ({
      location,
      locationId: identity(),
      engine: engine.driver,
      capabilities: { signUrl: canSign(engine), ...engine.capabilities },
      version,
    })),
  };
}
