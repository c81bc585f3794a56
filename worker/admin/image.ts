/** GetImageReplication: where an image is, and what is missing where, and why. */
import { readImageReplication } from '../../lib/metadata/image-replication.js';
import { fail } from '../../lib/rpc/errors.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { GetImageReplicationRequest__Output } from '../../proto/generated/entrepot/admin/v1/GetImageReplicationRequest.js';
import type { GetImageReplicationResponse } from '../../proto/generated/entrepot/admin/v1/GetImageReplicationResponse.js';
import type { AdminParts } from './service.js';
import { asReference, asRepository } from './validate.js';

export function imageHandlers({ make, db, settings }: AdminParts): Pick<AdminHandlers, 'GetImageReplication'> {
  return {
    GetImageReplication: make.unary<GetImageReplicationRequest__Output, GetImageReplicationResponse>(async request => {
      const repository = asRepository('repository', request.repository);
      const reference = asReference('reference', request.reference);
      const found = await readImageReplication(db, settings, repository, reference);
      if (!found) throw fail.imageUnknown(`the repository ${repository} has no image ${request.reference}`);
      return {
        digest: found.digest,
        blobs: found.blobs,
        locations: found.places.map(({ location, required, missing, listed }) => ({
          location,
          required,
          complete: missing === 0,
          missing: listed.map(blob => ({ ...blob, heldBy: [...blob.heldBy] })),
          missingCount: missing,
        })),
      };
    }),
  };
}
