/**
 * The calls that a server is at work on, so that it can end when they have.
 *
 * Before that, nothing must close their connections: when a server tells that it wants to end one (GOAWAY), Node.js sends
 * no pings over it any more, and grpc-js (1.14) cuts off what is in flight at the client's next keepalive, a second later.
 *
 * Who has another node goes there as soon as this one's health says no. Calls that come all the same have nowhere else to
 * go, so they are not refused because a slow reader keeps the server up for a minute: they are taken until all that began
 * before the farewell's end are over. Clients of ours go on elsewhere, or when the node is back, with what is cut off.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { ServerInterceptingCall, type ServerInterceptor, ServerListenerBuilder } from '@grpc/grpc-js';
import { fail, toServiceError } from './errors.js';

const LOOK_MS = 20;

/** What those have that came last, once nobody else is left. */
const LAST_MS = 1_000;

export class CallsInFlight {
  readonly #calls = new Set<object>();
  readonly #onChange: (count: number) => void;
  #refusing = false;

  /** `onChange` hears how many there are, whenever that changes. */
  constructor(onChange: (count: number) => void = () => {}) {
    this.#onChange = onChange;
  }

  /** Counts the calls of these methods, and, once the server is ending, sends new ones elsewhere. */
  interceptor(paths: ReadonlySet<string>): ServerInterceptor {
    return ({ path }, call) => {
      if (!paths.has(path)) return new ServerInterceptingCall(call);
      const over = () => {
        if (this.#calls.delete(call)) this.#onChange(this.#calls.size);
      };
      return new ServerInterceptingCall(call, {
        start: next => {
          const listener = new ServerListenerBuilder()
            .withOnReceiveMetadata((metadata, pass) => {
              if (this.#refusing) return call.sendStatus(toServiceError(fail.draining()));
              this.#calls.add(call);
              this.#onChange(this.#calls.size);
              pass(metadata);
            })
            .withOnCancel(over)
            .build();
          next(listener);
        },
        sendStatus: (status, next) => {
          over();
          next(status);
        },
      });
    };
  }

  /**
   * Takes calls for `farewellMs`, waits until those that have begun by then are over, and lets none in any more; after
   * `mostMs` at the latest. Resolves to how many are left.
   */
  async drain(mostMs: number, farewellMs: number): Promise<number> {
    const deadline = performance.now() + mostMs;
    await sleep(Math.min(farewellMs, mostMs));
    const waitedFor = [...this.#calls];
    await until(() => !waitedFor.some(call => this.#calls.has(call)), deadline);
    this.#refusing = true;
    await until(() => this.#calls.size === 0, Math.min(deadline, performance.now() + LAST_MS));
    return this.#calls.size;
  }
}

async function until(isOver: () => boolean, deadline: number): Promise<void> {
  while (!isOver() && performance.now() < deadline) await sleep(LOOK_MS);
}
