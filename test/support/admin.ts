/** The Admin service for a test, over gRPC: of this process, on a database of the test's, or of a worker that runs. */
import type { Logger } from 'pino';
import { Locations } from '../../lib/locations/locations.js';
import type { Mode } from '../../lib/metadata/mode.js';
import { callUnary } from '../../lib/rpc/call.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { StatusError } from '../../lib/rpc/errors.js';
import { AdminStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { formatAddress, startServer } from '../../lib/rpc/server.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import { adminService } from '../../worker/admin/service.js';
import { type Metadata, quiet, twoRegions } from './clients.js';
import { atEnd } from './suite.js';

/** A client of the worker at `address`; closed at the end of the suite. */
export function adminClient(address: string): AdminClient {
  const client = new AdminStub(...Security.local.dial(address, 'worker', channelOptions(NEAR_WINDOW)));
  atEnd(() => client.close());
  return client;
}

export interface AdminStart {
  readonly locations?: Locations;
  /** FEATURE_STORAGE_REPLICATION; true if absent. */
  readonly replicate?: boolean;
  readonly configuredMode?: Mode;
  /** Hears each time that copies may have been queued. */
  readonly onQueued?: () => void;
  readonly ending?: AbortSignal;
  readonly log?: Logger;
}

/** Serves the Admin service in this process; answers a client of it. */
export async function startAdmin(m: Metadata, options: AdminStart = {}): Promise<AdminClient> {
  const nowhere = { locations: [], preference: [], identify: async () => true, log: quiet };
  const locations = options.locations ?? new Locations(nowhere);
  const service = adminService({
    db: m.db,
    settings: { ...twoRegions, replicate: options.replicate ?? true },
    locations,
    configuredMode: options.configuredMode ?? { readOnly: false, pushesDisabled: false, reason: '' },
    onQueued: options.onQueued ?? (() => {}),
    onAnswered: undefined,
    ending: options.ending ?? new AbortController().signal,
    log: options.log ?? quiet,
  });
  const server = await startServer({ host: '127.0.0.1', port: 0 }, { services: [service], healthNames: [''] });
  atEnd(() => server.stop(100));
  return adminClient(formatAddress(server.address));
}

/** Makes a unary call of the service. */
export const call = callUnary;

/** Reads a stream of the service to its end, at most `most` messages. */
export async function read<T>(
  stream: Parameters<typeof readMessages<T>>[0],
  most = Number.POSITIVE_INFINITY,
): Promise<T[]> {
  const messages: T[] = [];
  for await (const message of readMessages<T>(stream)) {
    messages.push(message);
    if (messages.length >= most) break;
  }
  return messages;
}

/** What a call failed with: `STATUS REASON: message`. Throws if it did not, or with something else than a status. */
export async function failure(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => new Error('the call did not fail'),
    thrown => thrown,
  );
  if (!(error instanceof StatusError)) throw error;
  return `${error.status} ${error.reason}: ${error.message}`;
}
