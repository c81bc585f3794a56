/**
 * Connections to one node for reads that are divided into many: one connection alone does not fill a long link.
 *
 * A sender keeps what is on its way in its kernel's buffer, and that is bounded (4 MiB by default on Linux): one
 * connection carries 244 Mbit/s over 80 ms, however wide its window. After a lost packet only that connection slows down.
 */
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { bulkChannelOptions, FAR_WINDOW, isConnected } from '../rpc/channel.js';
import { StorageStub } from '../rpc/proto.js';
import type { Renewed } from '../rpc/renewed.js';
import type { Security } from '../rpc/security.js';

/**
 * How many are opened as soon as one is needed, side by side: each begins slowly, and takes half a second over 80 ms until
 * it carries its share. Five fill 1 Gbit/s at 80 ms as long as nothing is lost, each held to 244 Mbit/s by its sender's
 * buffer; but a lost packet stops one of them for a round trip, and of sixteen the others fill the gap.
 */
const LANES = 16;

/**
 * How many are used where the node sends with BBR. Then a loss slows nothing down, and what matters is that each connection
 * has its next call on the way before it is done with the last: of 28 calls, eight have that always, of sixteen only half at
 * any time (seen over 1 Gbit/s and 80 ms with 0.1 % loss: 0.84 instead of 0.80 of what iperf3 carried). With CUBIC, sixteen
 * carried twice what eight did.
 */
const LANES_WITH_BBR = 8;

/** More than that wait for each other, and are made only if every other connection has as many. */
const MOST_CALLS_EACH = 4;

/** How much a call's time counts in the average of its connection. */
const NEWEST = 0.3;

/**
 * What an average shrinks by with every call on any connection: one that was slow, and is therefore not chosen, is tried
 * again after some hundred.
 */
const FORGIVEN = 0.999;

/**
 * A connection that nobody uses for so long is closed. A new one has to find its speed: over 1 Gbit/s and 80 ms, the first
 * 100 MB take a second longer (seen with BBR, which remembers it over a pause).
 */
const IDLE_MS = 10 * 60_000;

/** Idle connections are many, and nobody waits for what a ping tells: they are sent seldom, but before a firewall forgets. */
const PING_EVERY_MS = 10_000;

/**
 * How long a ping may be on its way. It waits behind all that was written to its connection: some megabytes in the sender's
 * kernel, a share of what is carried side by side, which a link of 2 Mbit/s is busy with for a minute. A connection that is
 * given up meanwhile loses them, and asks for the same again, for ever. Readers notice silence by themselves.
 */
const PING_MS = 120_000;

interface Lane {
  readonly connection: Renewed<StorageClient>;
  /** Calls on it. */
  busy: number;
  /** How long a call takes that has it to itself: a moving average, in milliseconds; 0 if it is not known. */
  usualMs: number;
}

export class Lanes {
  readonly #address: string;
  readonly #security: Security;
  /** Those beyond what is used now are left alone until they have been idle for long enough. */
  readonly #lanes: Lane[] = [];
  #used = LANES;
  #turn = 0;

  constructor(address: string, security: Security) {
    this.#address = address;
    this.#security = security;
  }

  /** Says which TCP congestion control the node sends with, as the kernel names it; `bbr` may be followed by a version. */
  sentWith(congestionControl: string): void {
    this.#used = /^bbr/.test(congestionControl) ? LANES_WITH_BBR : LANES;
  }

  /** The connection on which a call will be over soonest; call `done`, once, when it is. */
  take(): { stub: StorageClient; done: () => void } {
    const lane = this.#soonest();
    const began = performance.now();
    const share = ++lane.busy;
    let taken = true;
    const done = () => {
      if (taken) this.#over(lane, (performance.now() - began) / share);
      taken = false;
    };
    return { stub: lane.connection.client, done };
  }

  close(): void {
    for (const { connection } of this.#lanes.splice(0)) connection.close();
  }

  #over(lane: Lane, tookMs: number): void {
    lane.busy--;
    for (const each of this.#lanes) each.usualMs *= FORGIVEN;
    lane.usualMs = lane.usualMs === 0 ? tookMs : (1 - NEWEST) * lane.usualMs + NEWEST * tookMs;
  }

  /**
   * Where calls take long, as on a connection that lost packets and has not found its speed again, fewer are made. Of
   * connections that are equal they take turns: one that is broken is then not chosen again and again. One that is not
   * connected yet, or no more, is chosen only if none is.
   */
  #soonest(): Lane {
    while (this.#lanes.length < this.#used) this.#open();
    const start = this.#turn++ % this.#used;
    const inTurn = [...this.#lanes.slice(start, this.#used), ...this.#lanes.slice(0, start)];
    const connected = inTurn.filter(({ connection }) => isConnected(connection.client));
    const usable = connected.length > 0 ? connected : inTurn;
    const known = usable.filter(({ usualMs }) => usualMs > 0);
    const averageMs = known.reduce((sum, { usualMs }) => sum + usualMs, 0) / Math.max(1, known.length);
    const callMs = (lane: Lane) => lane.usualMs || averageMs || 1;
    const free = usable.filter(lane => lane.busy < MOST_CALLS_EACH);
    const expectedMs = (lane: Lane) => (lane.busy + 1) * callMs(lane);
    return (free.length > 0 ? free : usable).reduce((best, lane) =>
      expectedMs(best) <= expectedMs(lane) ? best : lane,
    );
  }

  #open(): void {
    const options = {
      ...bulkChannelOptions(FAR_WINDOW),
      'grpc.keepalive_time_ms': PING_EVERY_MS,
      'grpc.keepalive_timeout_ms': PING_MS,
      'grpc.client_idle_timeout_ms': IDLE_MS,
    };
    const connection = this.#security.renewed(StorageStub, this.#address, 'storage-proxy', options);
    this.#lanes.push({ connection, busy: 0, usualMs: 0 });
  }
}
