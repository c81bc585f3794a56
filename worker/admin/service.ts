/** The service of admin.proto: one file for each group of calls, all validated at the edge. */
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import type { Namespaces } from '../../lib/metadata/namespaces.js';
import type { Workers } from '../../lib/metadata/workers.js';
import { type HandlerContext, type HandlerOptions, handlers, type Send } from '../../lib/rpc/handler.js';
import { AdminStub, adminPackage } from '../../lib/rpc/proto.js';
import type { Service } from '../../lib/rpc/server.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import { mapped } from './errors.js';
import { settingsHandlers } from './settings.js';

/** What the service is made of. */
export interface AdminOptions {
  readonly locations: Locations;
  readonly namespaces: Namespaces;
  readonly workers: Workers;
  /** FEATURE_STORAGE_REPLICATION. */
  readonly replicate: boolean;
  /** Hears of each call that is over. */
  readonly onAnswered: HandlerOptions['onAnswered'];
  readonly log: Logger;
}

/** What each group of handlers is made from. */
export interface AdminParts extends AdminOptions {
  readonly make: AdminMake;
}

/** The makers of handlers (lib/rpc/handler.ts), with the database's errors mapped. */
export type AdminMake = ReturnType<typeof makers>;

function makers({ onAnswered, log }: AdminOptions) {
  const make = handlers(log, { onAnswered });
  return {
    unary: <Request, Response>(handle: (request: Request, context: HandlerContext) => Promise<Response>) =>
      make.unary<Request, Response>((request, context) => mapped(() => handle(request, context))),
    serverStream: <Request, Response>(
      handle: (request: Request, send: Send<Response>, context: HandlerContext) => Promise<void>,
    ) => make.serverStream<Request, Response>((request, send, context) => mapped(() => handle(request, send, context))),
  };
}

/** The Admin service, ready to be served. */
export function adminService(options: AdminOptions): Service {
  const parts: AdminParts = { ...options, make: makers(options) };
  const implementation: Partial<AdminHandlers> = { ...settingsHandlers(parts) };
  return { definition: AdminStub.service, implementation: implementation as AdminHandlers, package: adminPackage };
}
