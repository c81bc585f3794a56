/** The service of admin.proto: one file for each group of calls, all validated at the edge. */
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import type { Database } from '../../lib/metadata/database.js';
import type { Mode } from '../../lib/metadata/mode.js';
import type { MetadataSettings } from '../../lib/metadata/settings.js';
import { type HandlerContext, type HandlerOptions, handlers, type Send } from '../../lib/rpc/handler.js';
import { ADMIN_PROTO, AdminStub } from '../../lib/rpc/proto.js';
import type { Service } from '../../lib/rpc/server.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import { adoptHandlers } from './adopt.js';
import { backfillHandlers } from './backfill.js';
import { mapped } from './errors.js';
import { eventHandlers } from './events.js';
import { imageHandlers } from './image.js';
import { locationHandlers } from './locations.js';
import { modeHandlers } from './mode.js';
import { removeHandlers } from './remove.js';
import { retryHandlers } from './retry.js';
import { settingsHandlers } from './settings.js';
import { verifyHandlers } from './verify.js';
import { watchHandlers } from './watch.js';

/** What the service is made of. */
export interface AdminOptions {
  readonly db: Database;
  /** Of FEATURE_STORAGE_REPLICATION, among others. */
  readonly settings: MetadataSettings;
  readonly locations: Locations;
  /** What this worker's configuration says of the mode. */
  readonly configuredMode: Mode;
  /** Called when copies may have been queued, or may be made at once. */
  readonly onQueued: () => void;
  /** Hears of each call that is over. */
  readonly onAnswered: HandlerOptions['onAnswered'];
  /** Aborts when this worker ends: streams end then, and their callers go on at another worker. */
  readonly ending: AbortSignal;
  readonly log: Logger;
}

/** What each group of handlers is made from. */
export interface AdminParts extends AdminOptions {
  readonly make: AdminMake;
}

/** The makers of handlers (lib/rpc/handler.ts), with the database's errors mapped. */
export type AdminMake = ReturnType<typeof makers>;

/** A stream's signal also aborts when this worker ends; what it throws then tells the caller to go on elsewhere. */
function makers({ onAnswered, log, ending }: AdminOptions) {
  const make = handlers(log, { onAnswered });
  return {
    unary: <Request, Response>(handle: (request: Request, context: HandlerContext) => Promise<Response>) =>
      make.unary<Request, Response>((request, context) => mapped(() => handle(request, context), ending)),
    serverStream: <Request, Response>(
      handle: (request: Request, send: Send<Response>, context: HandlerContext) => Promise<void>,
    ) =>
      make.serverStream<Request, Response>((request, send, context) => {
        const signal = AbortSignal.any([context.signal, ending]);
        return mapped(() => handle(request, send, { ...context, signal }), ending);
      }),
  };
}

/** The Admin service, ready to be served. */
export function adminService(options: AdminOptions): Service {
  const parts: AdminParts = { ...options, make: makers(options) };
  const implementation: AdminHandlers = {
    ...locationHandlers(parts),
    ...backfillHandlers(parts),
    ...watchHandlers(parts),
    ...imageHandlers(parts),
    ...eventHandlers(parts),
    ...retryHandlers(parts),
    ...settingsHandlers(parts),
    ...verifyHandlers(parts),
    ...adoptHandlers(parts),
    ...removeHandlers(parts),
    ...modeHandlers(parts),
  };
  return { definition: AdminStub.service, implementation, proto: ADMIN_PROTO, callers: ['administrator'] };
}
