/**
 * The Admin service with scripted answers, to see what the commands make of each.
 * (The real service is behind the commands in test/ci/admin-commands.test.ts.)
 */
import { pino } from 'pino';
import { fail } from '../../lib/rpc/errors.js';
import { handlers } from '../../lib/rpc/handler.js';
import { ADMIN_PROTO, AdminStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { formatAddress, startServer } from '../../lib/rpc/server.js';
import type { AdminHandlers } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import { atEnd } from '../support/suite.js';

export const make = handlers(pino({ level: 'silent' }));

/** The script: what is not given answers UNIMPLEMENTED. */
export type Script = Partial<AdminHandlers>;

/** Starts a server whose script may be changed at any time; it ends with the suite. Plain text if `security` is absent. */
export async function startAdminServer(
  security = Security.local,
): Promise<{ readonly address: string; script: Script }> {
  const state: { script: Script } = { script: {} };
  const implementation = Object.fromEntries(
    Object.entries(AdminStub.service).map(([name, { responseStream }]) => {
      const given = () => state.script[name as keyof AdminHandlers] as ((...args: unknown[]) => void) | undefined;
      const none = responseStream
        ? make.serverStream(() => Promise.reject(fail.unsupported('not in the script')))
        : make.unary(() => Promise.reject(fail.unsupported('not in the script')));
      return [name, (...args: unknown[]) => (given() ?? (none as (...args: unknown[]) => void))(...args)];
    }),
  );
  const server = await startServer(
    { host: '127.0.0.1', port: 0 },
    {
      services: [{ definition: AdminStub.service, implementation, proto: ADMIN_PROTO, callers: ['administrator'] }],
      healthNames: [''],
      security,
    },
  );
  server.setHealth('', true);
  atEnd(() => server.stop(0));
  return Object.assign(state, { address: formatAddress(server.address) });
}

/** A handler that sends what it is told, and a list of the requests that it got. */
export function sends<Request, Response>(...messages: Response[]) {
  const requests: Request[] = [];
  const handler = make.serverStream<Request, Response>(async (request, send) => {
    requests.push(request);
    for (const message of messages) await send(message);
  });
  return { requests, handler };
}

/** The same for a call with one answer. */
export function answers<Request, Response>(response: Response) {
  const requests: Request[] = [];
  const handler = make.unary<Request, Response>(async request => {
    requests.push(request);
    return response;
  });
  return { requests, handler };
}
