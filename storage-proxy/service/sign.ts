/** SignUrl: addresses from which clients fetch a blob without us. */
import { fail } from '../../lib/rpc/errors.js';
import type { SignUrlRequest__Output } from '../../proto/generated/entrepot/storage/v1/SignUrlRequest.js';
import type { SignUrlResponse } from '../../proto/generated/entrepot/storage/v1/SignUrlResponse.js';
import { canSign } from '../engines/engine.js';
import type { Parts } from './service.js';
import { asDigest } from './validate.js';

const MAX_TTL_SECONDS = 86_400;

export function signHandlers({ engine, make }: Parts) {
  return {
    SignUrl: make.unary<SignUrlRequest__Output, SignUrlResponse>(async ({ digest, ttlSeconds }, { signal }) => {
      const wanted = asDigest(digest);
      if (!(ttlSeconds >= 1 && ttlSeconds <= MAX_TTL_SECONDS))
        throw fail.malformed(`ttl_seconds is ${ttlSeconds}; it must be 1 to ${MAX_TTL_SECONDS}`);
      if (!canSign(engine)) throw fail.unsupported(`${engine.driver} has no addresses that clients could reach`);
      return { url: await engine.sign(wanted, ttlSeconds, signal) };
    }),
  };
}
