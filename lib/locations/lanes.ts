/**
 * Connections to one node for reads that are divided into many: one connection alone does not fill a long link.
 *
 * A sender keeps what is on its way in its kernel's buffer, and that is bounded (4 MiB by default on Linux): one
 * connection carries 244 Mbit/s over 80 ms, however wide its window. After a lost packet only that connection slows down.
 */
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { bulkChannelOptions, FAR_WINDOW } from '../rpc/channel.js';
import { StorageStub } from '../rpc/proto.js';
import type { Renewed } from '../rpc/renewed.js';
import type { Security } from '../rpc/security.js';

/**
 * Five fill 1 Gbit/s at 80 ms as long as nothing is lost, each held to 244 Mbit/s by its sender's buffer; where one packet
 * of a thousand is lost, 8 reach 600 and 16 reach 689 Mbit/s.
 */
const LANES = 16;

/** A connection that nobody uses is closed: each costs a keepalive a second on both sides. */
const IDLE_MS = 60_000;

interface Lane {
  readonly connection: Renewed<StorageClient>;
  busy: number;
}

export class Lanes {
  readonly #address: string;
  readonly #security: Security;
  readonly #lanes: Lane[] = [];
  #turn = 0;

  constructor(address: string, security: Security) {
    this.#address = address;
    this.#security = security;
  }

  /** The connection that is least used now; call `done`, once, when the call is over. */
  take(): { stub: StorageClient; done: () => void } {
    const lane = this.#leastBusy();
    lane.busy++;
    let taken = true;
    const done = () => {
      if (taken) lane.busy--;
      taken = false;
    };
    return { stub: lane.connection.client, done };
  }

  close(): void {
    for (const { connection } of this.#lanes.splice(0)) connection.close();
  }

  /** Of those that are equally busy they take turns: one that is broken is then not chosen again and again. */
  #leastBusy(): Lane {
    const start = this.#turn++ % LANES;
    const inTurn = [...this.#lanes.slice(start), ...this.#lanes.slice(0, start)];
    const found = inTurn.reduce<Lane | undefined>(
      (best, lane) => (best && best.busy <= lane.busy ? best : lane),
      undefined,
    );
    return found && (found.busy === 0 || this.#lanes.length === LANES) ? found : this.#open();
  }

  #open(): Lane {
    const options = { ...bulkChannelOptions(FAR_WINDOW), 'grpc.client_idle_timeout_ms': IDLE_MS };
    const connection = this.#security.renewed(StorageStub, this.#address, 'storage-proxy', options);
    const lane = { connection, busy: 0 };
    this.#lanes.push(lane);
    return lane;
  }
}
