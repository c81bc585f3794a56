/** One at a time is at work on a location: removes it, verifies it, adopts it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type LocationWork, WORK_LEASE_MS, type WorkKind, type WorkLease } from '../lib/metadata/location-work.js';
import { fail } from '../lib/rpc/errors.js';

const WORDS: Readonly<Record<WorkKind, string>> = { remove: 'removed', verify: 'verified', adopt: 'adopted' };

/** What of the database is needed for it. */
type Work = Pick<LocationWork, 'take' | 'renew' | 'end'>;

/**
 * Does work on a location that no other call is at. Throws BUSY_ELSEWHERE if one is, also when the lease is lost on the
 * way; `run` is given the signal that then aborts. `leaseMs` is how long the database keeps a lease.
 */
export async function* underLease<T>(
  work: Work,
  { location, kind }: { location: string; kind: WorkKind },
  signal: AbortSignal,
  run: (signal: AbortSignal) => AsyncGenerator<T>,
  leaseMs = WORK_LEASE_MS,
): AsyncGenerator<T> {
  const busy = () => fail.busyElsewhere(`${location} is being ${WORDS[kind]} by another call`);
  const askedAt = performance.now();
  const lease = await work.take(location, kind);
  if (!lease) throw busy();
  const held = new Held(work, lease, askedAt, leaseMs);
  try {
    yield* run(AbortSignal.any([signal, held.lost]));
  } catch (error) {
    throw held.lost.aborted && !signal.aborted ? busy() : error;
  } finally {
    await held.end();
  }
}

/** A lease that is renewed, and ends here no later than in the database, also while a try to renew it hangs. */
class Held {
  readonly #work: Work;
  readonly #lease: WorkLease;
  readonly #leaseMs: number;
  readonly #lost = new AbortController();
  readonly #renewing: NodeJS.Timeout;
  #ending: NodeJS.Timeout;
  /** When the database was asked for what it gave last: the lease runs from then on at the earliest. */
  #askedAt: number;

  constructor(work: Work, lease: WorkLease, askedAt: number, leaseMs: number) {
    this.#work = work;
    this.#lease = lease;
    this.#leaseMs = leaseMs;
    this.#askedAt = askedAt;
    this.#ending = this.#runOut();
    this.#renewing = setInterval(() => void this.#renew(), leaseMs / 4);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async end(): Promise<void> {
    this.#lose();
    await this.#work.end(this.#lease).catch(() => {});
  }

  async #renew(): Promise<void> {
    const askedAt = performance.now();
    try {
      if (!(await this.#work.renew(this.#lease))) this.#lose();
    } catch {
      // Tried again, until it has run out.
      return;
    }
    if (this.#lost.signal.aborted || askedAt < this.#askedAt) return;
    this.#askedAt = askedAt;
    clearTimeout(this.#ending);
    this.#ending = this.#runOut();
  }

  #runOut(): NodeJS.Timeout {
    return setTimeout(() => this.#lose(), this.#leaseMs - (performance.now() - this.#askedAt));
  }

  /** It is not renewed any more; what a renewal answers that is still on its way changes nothing. */
  #lose(): void {
    clearInterval(this.#renewing);
    clearTimeout(this.#ending);
    this.#lost.abort();
  }
}

/** Throws the call's cancellation, if it was cancelled. */
export function goOn(signal: AbortSignal): void {
  if (signal.aborted) throw fail.cancelled();
}

/** Waits. Throws the call's cancellation. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {
    throw fail.cancelled();
  });
}
