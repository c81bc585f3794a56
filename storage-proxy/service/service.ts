/** The service of storage.proto over an engine: one file for each group of calls, all validated at the edge. */
import type { Logger } from 'pino';
import { handlers } from '../../lib/rpc/handler.js';
import { STORAGE_PROTO, StorageStub } from '../../lib/rpc/proto.js';
import type { Service } from '../../lib/rpc/server.js';
import type { GateState, StorageMetrics } from '../../lib/telemetry/storage-metrics.js';
import type { StorageHandlers } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import type { Engine } from '../engines/engine.js';
import { batchHandlers } from './batch.js';
import { blobHandlers } from './blobs.js';
import { collectionHandlers } from './collection.js';
import { describeHandlers } from './describe.js';
import { Gate } from './gate.js';
import { signHandlers } from './sign.js';
import { uploadHandlers } from './uploads.js';

/** What the service is made of. */
export interface ServiceOptions {
  readonly engine: Engine;
  /** The location's name. */
  readonly location: string;
  readonly version: string;
  /** The store's identity; throws a StatusError while it is not known or not to be trusted. */
  readonly identity: () => string;
  readonly metrics: StorageMetrics;
  readonly log: Logger;
}

/** What each group of handlers is made from. */
export interface Parts extends ServiceOptions {
  readonly make: ReturnType<typeof handlers>;
  readonly gates: Gates;
}

/** How many blobs of one batch are worked on at a time. */
export const CONCURRENCY = 16;

const WAIT_MS = 5_000;

/**
 * The memory budget. A read holds two pieces and a copy of a frame, 128 KiB each; an append two gathered writes of 512 KiB,
 * and beside them what its caller has sent while the disk is slower, also while it waits for its turn: a window and some
 * messages, 8 + 4 MiB as long as few upload, 1 + 1 MiB of most of 64 (lib/rpc/window.ts; seen: 64 that do not move are sent
 * 176 MiB); a batch 4 MiB and what is made of them, also while it waits for its turn; a commit a few pieces. Full gates are
 * about 100 + 70 + 130 + 50 MiB while the disk keeps up. Seen: 200 paused readers cost 160 MiB, of which V8 would give back a
 * third if it had to.
 */
function makeGates() {
  return {
    reads: new Gate({ name: 'reads', limit: 256, queue: 1_000, waitMs: WAIT_MS }),
    appends: new Gate({ name: 'appends', limit: 64, queue: 250, waitMs: WAIT_MS }),
    batches: new Gate({ name: 'batches', limit: 16, queue: 250, waitMs: WAIT_MS }),
    commits: new Gate({ name: 'commits', limit: 64, queue: 1_000, waitMs: WAIT_MS }),
  };
}
type Gates = ReturnType<typeof makeGates>;

/** The storage service, ready to be served; and how full it is. */
export function storageService(options: ServiceOptions): Service & { readonly load: () => readonly GateState[] } {
  const { identity, metrics, log } = options;
  // Health alone would not keep callers out: where all nodes say no, the last resort is to try them all the same.
  const make = handlers(log, { admit: identity, onAnswered: metrics.answered });
  const gates = makeGates();
  const parts: Parts = { ...options, make, gates };
  const implementation: StorageHandlers = {
    ...describeHandlers(parts),
    ...blobHandlers(parts),
    ...batchHandlers(parts),
    ...uploadHandlers(parts),
    ...collectionHandlers(parts),
    ...signHandlers(parts),
  };
  return {
    definition: StorageStub.service,
    implementation,
    proto: STORAGE_PROTO,
    callers: ['gateway', 'worker'],
    load: () => Object.values(gates).map(gate => gate.state),
  };
}
