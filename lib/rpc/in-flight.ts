/**
 * The calls that a server is at work on, so that it can end when they have.
 *
 * Before that, nothing must close their connections: when a server tells that it wants to end one (GOAWAY), Node.js sends
 * no pings over it any more, and grpc-js (1.14) cuts off what is in flight at the client's next keepalive, a second later.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { ServerInterceptingCall, type ServerInterceptor, ServerListenerBuilder } from '@grpc/grpc-js';
import { fail, toServiceError } from './errors.js';

const LOOK_MS = 20;

export class CallsInFlight {
  readonly #onChange: (count: number) => void;
  #count = 0;
  #draining = false;

  /** `onChange` hears how many there are, whenever that changes. */
  constructor(onChange: (count: number) => void = () => {}) {
    this.#onChange = onChange;
  }

  /** Counts the calls of these methods, and, once the server is ending, sends new ones elsewhere. */
  interceptor(paths: ReadonlySet<string>): ServerInterceptor {
    return ({ path }, call) => {
      if (!paths.has(path)) return new ServerInterceptingCall(call);
      let counted = false;
      const over = () => {
        if (counted) this.#add(-1);
        counted = false;
      };
      return new ServerInterceptingCall(call, {
        start: next => {
          const listener = new ServerListenerBuilder()
            .withOnReceiveMetadata((metadata, pass) => {
              if (this.#draining) return call.sendStatus(toServiceError(fail.draining()));
              counted = true;
              this.#add(1);
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

  /** Lets no call in any more; resolves when there is none left, after `mostMs` at the latest. */
  async drain(mostMs: number): Promise<void> {
    this.#draining = true;
    const deadline = performance.now() + mostMs;
    while (this.#count > 0 && performance.now() < deadline) await sleep(LOOK_MS);
  }

  #add(change: number): void {
    this.#count += change;
    this.#onChange(this.#count);
  }
}
