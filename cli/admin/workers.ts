/**
 * The workers that a command may ask, one at a time: the first that answers, and when that one is gone the next, which may
 * be the same one, come back.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AdminAccess } from '../../lib/config/admin.js';
import { StatusError } from '../../lib/rpc/errors.js';
import { askServing } from '../../lib/rpc/health.js';
import { AdminStub } from '../../lib/rpc/proto.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import { EXIT, Failure } from '../exit.js';
import { reasonOf } from '../output/reason.js';
import type { Dial } from './dial.js';

/** How long a worker may take to say that it is there. */
const ANSWER_MS = 3_000;

const HINT = 'Say where one listens (its ENTREPOT_WORKER_LISTEN), with --server HOST:PORT or ENTREPOT_ADMIN_SERVERS';
/** Most often the configuration says it, and was not named. */
const GUESSED = 'or name the configuration that says so, with --config or ENTREPOT_CONFIG';

/** A worker that answered. */
export interface Worker {
  readonly client: AdminClient;
  /** `host:port`. */
  readonly address: string;
}

export interface WorkersOptions {
  readonly access: AdminAccess;
  readonly dial: Dial;
  readonly signal: AbortSignal;
}

export class Workers {
  readonly #options: WorkersOptions;
  #current: Worker | undefined;

  constructor(options: WorkersOptions) {
    this.#options = options;
  }

  /** The one that is asked now, if there is one. */
  get current(): Worker | undefined {
    return this.#current;
  }

  /** The first that answers, beginning with the one after the current one. Throws a Failure if none does. */
  async next(): Promise<Worker> {
    const { signal } = this.#options;
    const failures: string[] = [];
    for (const address of this.#inTurn()) {
      const found = await this.#ask(address).catch(error => {
        if (signal.aborted || isRefusal(error)) throw error;
        failures.push(`  ${address}: ${reasonOf(error)}`);
      });
      if (found === undefined) continue;
      this.#current?.client.close();
      this.#current = found;
      return found;
    }
    const hint = this.#options.access.isGuess ? `${HINT}, ${GUESSED}.` : `${HINT}.`;
    throw new Failure(EXIT.unreachable, ['no worker answers:', ...failures, hint].join('\n'));
  }

  close(): void {
    this.#current?.client.close();
  }

  #inTurn(): readonly string[] {
    const { servers } = this.#options.access;
    const from = this.#current ? servers.indexOf(this.#current.address) + 1 : 0;
    return [...servers.slice(from), ...servers.slice(0, from)];
  }

  async #ask(address: string): Promise<Worker> {
    const { access, dial, signal } = this.#options;
    const client: AdminClient = new AdminStub(...dial(address));
    try {
      if (await askServing(client, '', ANSWER_MS, { token: access.token, signal })) return { client, address };
      throw new Error('is shutting down');
    } catch (error) {
      client.close();
      throw error;
    }
  }
}

/** Whether a worker has answered, and does not let us in. */
function isRefusal(error: unknown): boolean {
  return error instanceof StatusError && (error.status === 'PERMISSION_DENIED' || error.status === 'UNAUTHENTICATED');
}

/** How long is borne that no worker goes on with a call; and the waits between the tries, each longer than the last. */
const PATIENCE_MS = 60_000;
const PAUSE_MS = { first: 250, growth: 2, most: 5_000 };

/** How long nobody has answered, and how long to wait before the next try. */
export class Patience {
  readonly #signal: AbortSignal;
  #endsAt = 0;
  #pauseMs: number = PAUSE_MS.first;
  #losses = 0;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Whether the call was lost before, and nobody has answered since. */
  get isTried(): boolean {
    return this.#losses > 0;
  }

  /** Somebody has answered. */
  renew(): void {
    this.#losses = 0;
    this.#pauseMs = PAUSE_MS.first;
  }

  /** Nobody did. Waits (the first time not: another worker may go on at once); throws `error` when it has been too long. */
  async bear(error: unknown): Promise<void> {
    const now = performance.now();
    if (this.#losses++ === 0) {
      this.#endsAt = now + PATIENCE_MS;
      return;
    }
    if (this.#signal.aborted || now > this.#endsAt) throw error;
    await sleep(this.#pauseMs * (0.5 + Math.random()), undefined, { signal: this.#signal }).catch(() => {
      throw error;
    });
    this.#pauseMs = Math.min(this.#pauseMs * PAUSE_MS.growth, PAUSE_MS.most);
  }
}
