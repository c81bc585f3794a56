/** AdoptLocation, ReleaseAdopted. */
import { Adoption } from '../../lib/metadata/adoption.js';
import { LocationWork } from '../../lib/metadata/location-work.js';
import { Names } from '../../lib/metadata/names.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { AdoptLocationRequest__Output } from '../../proto/generated/entrepot/admin/v1/AdoptLocationRequest.js';
import type { AdoptLocationResponse } from '../../proto/generated/entrepot/admin/v1/AdoptLocationResponse.js';
import type { ReleaseAdoptedRequest__Output } from '../../proto/generated/entrepot/admin/v1/ReleaseAdoptedRequest.js';
import type { ReleaseAdoptedResponse } from '../../proto/generated/entrepot/admin/v1/ReleaseAdoptedResponse.js';
import { type AdoptEvent, adoptLocation } from '../adopt-location/adopt-location.js';
import { knownLocation } from './named.js';
import type { AdminParts } from './service.js';
import { storeOf } from './store-of.js';

export function adoptHandlers(parts: AdminParts): Pick<AdminHandlers, 'AdoptLocation' | 'ReleaseAdopted'> {
  const { db, locations, make } = parts;
  const adoption = new Adoption(db);
  const work = new LocationWork(db);
  const names = new Names(db);

  return {
    AdoptLocation: make.serverStream<AdoptLocationRequest__Output, AdoptLocationResponse>(
      async (request, send, { signal }) => {
        const location = await knownLocation(names, request.location);
        const store = storeOf(locations, location);
        const events = adoptLocation({ adoption, work }, store, { location, dryRun: request.dryRun }, signal);
        for await (const event of events) await send(asResponse(event));
      },
    ),

    ReleaseAdopted: make.unary<ReleaseAdoptedRequest__Output, ReleaseAdoptedResponse>(async (request, { signal }) => {
      const location = await knownLocation(names, request.location);
      let blobs = 0;
      while (!signal.aborted) {
        const { released, more } = await adoption.releaseSome(location);
        blobs += released;
        if (!more) break;
      }
      return { blobs };
    }),
  };
}

function asResponse(event: AdoptEvent): AdoptLocationResponse {
  if (event.kind === 'progress') return { progress: { ...event.counts, done: event.done } };
  const { digest, size, recorded } = event.conflict;
  const detail = `the object has ${size} bytes, and the blob on record ${recorded}: it is left alone`;
  return { conflict: { kind: 'FINDING_KIND_CONFLICT', digest, size: recorded, detail } };
}
