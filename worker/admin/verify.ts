/** VerifyLocation. */
import { LocationWork } from '../../lib/metadata/location-work.js';
import { Names } from '../../lib/metadata/names.js';
import { Replication } from '../../lib/metadata/replication.js';
import { Verification } from '../../lib/metadata/verification.js';
import { fail } from '../../lib/rpc/errors.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { VerifyLocationRequest__Output } from '../../proto/generated/entrepot/admin/v1/VerifyLocationRequest.js';
import type { VerifyLocationResponse } from '../../proto/generated/entrepot/admin/v1/VerifyLocationResponse.js';
import type { VerifyEvent } from '../verify-location/events.js';
import { GRACE_MS, verifyLocation } from '../verify-location/verify-location.js';
import { knownLocation } from './named.js';
import type { AdminParts } from './service.js';
import { storeOf } from './store-of.js';
import { asChoice } from './validate.js';

const KINDS = {
  missing: 'FINDING_KIND_MISSING',
  corrupt: 'FINDING_KIND_CORRUPT',
  unreferenced: 'FINDING_KIND_UNREFERENCED',
} as const;

const DEPTHS = {
  VERIFY_DEPTH_UNSPECIFIED: 'size',
  VERIFY_DEPTH_SIZE: 'size',
  VERIFY_DEPTH_DIGEST: 'digest',
} as const;

export function verifyHandlers(parts: AdminParts): Pick<AdminHandlers, 'VerifyLocation'> {
  const { db, locations, onQueued, log, make } = parts;
  const verification = new Verification(db);
  const names = new Names(db);
  const verifying = {
    ...{ verification, onQueued, log },
    replication: new Replication(db),
    work: new LocationWork(db),
    graceMs: GRACE_MS,
  };
  return {
    VerifyLocation: make.serverStream<VerifyLocationRequest__Output, VerifyLocationResponse>(
      async (request, send, { signal }) => {
        const percent = asPercent(request.samplePercent);
        const depth = asChoice('depth', request.depth, DEPTHS);
        const location = await knownLocation(names, request.location);
        const store = storeOf(locations, location);
        const { restart, dryRun } = request;
        const events = verifyLocation(verifying, store, { location, depth, percent, restart, dryRun }, signal);
        for await (const event of events) await send(asResponse(event));
      },
    ),
  };
}

/** 0 stands for all. */
function asPercent(value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= 99) return value || 100;
  throw fail.malformed(`sample_percent must be a whole number from 1 to 99, or 0 for all: ${value}`);
}

function asResponse(event: VerifyEvent): VerifyLocationResponse {
  if (event.kind === 'found') return { finding: { ...event.found, kind: KINDS[event.found.kind] } };
  const { counts, total, done } = event;
  return { progress: { ...counts, blobsTotal: total, done } };
}
