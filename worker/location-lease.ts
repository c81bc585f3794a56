/** One at a time is at work on a location: removes it, verifies it, adopts it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type LocationWork, WORK_LEASE_MS, type WorkKind } from '../lib/metadata/location-work.js';
import { fail } from '../lib/rpc/errors.js';

const WORDS: Readonly<Record<WorkKind, string>> = { remove: 'removed', verify: 'verified', adopt: 'adopted' };

/**
 * Does work on a location that no other call is at. Throws BUSY_ELSEWHERE if one is, also when the lease is lost on the
 * way; `run` is given the signal that then aborts.
 */
export async function* underLease<T>(
  work: LocationWork,
  { location, kind }: { location: string; kind: WorkKind },
  signal: AbortSignal,
  run: (signal: AbortSignal) => AsyncGenerator<T>,
): AsyncGenerator<T> {
  const lease = await work.take(location, kind);
  const busy = () => fail.busyElsewhere(`${location} is being ${WORDS[kind]} by another call`);
  if (!lease) throw busy();
  const lost = new AbortController();
  let renewedAt = performance.now();
  const renew = async () => {
    const startedAt = performance.now();
    try {
      if (await work.renew(lease)) renewedAt = startedAt;
      else lost.abort();
    } catch {
      // Tried again, until it has run out.
    }
  };
  const timer = setInterval(() => {
    // Also while a try to renew it hangs.
    if (performance.now() - renewedAt >= WORK_LEASE_MS) lost.abort();
    else void renew();
  }, WORK_LEASE_MS / 4);
  try {
    yield* run(AbortSignal.any([signal, lost.signal]));
  } catch (error) {
    throw lost.signal.aborted && !signal.aborted ? busy() : error;
  } finally {
    clearInterval(timer);
    await work.end(lease).catch(() => {});
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
