/** Working on a location under a lease: it is kept up, and ends in time whatever becomes of its renewals. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { WorkLease } from '../../lib/metadata/location-work.js';
import { underLease } from '../../worker/location-lease.js';
import { suite } from '../support/suite.js';
import { finished, soon } from '../support/wait.js';

const test = suite('worker: a lease on a location');

const LEASE_MS = 400;

/** A stand-in for the database, which answers each renewal as the test says. */
class Leases {
  renewals = 0;
  ended = 0;
  readonly #onRenew: (nth: number) => Promise<boolean>;

  constructor(onRenew: (nth: number) => Promise<boolean>) {
    this.#onRenew = onRenew;
  }

  async take(location: string, kind: WorkLease['kind']): Promise<WorkLease> {
    return { location, kind, holder: 'test' };
  }

  renew(): Promise<boolean> {
    return this.#onRenew(++this.renewals);
  }

  async end(): Promise<void> {
    this.ended++;
  }
}

/** Works under a lease until it is lost, or for `ms` milliseconds; answers for how long that was. */
async function work(leases: Leases, ms = 60_000): Promise<number> {
  const began = performance.now();
  const { signal } = new AbortController();
  const run = async function* (ending: AbortSignal) {
    await sleep(ms, undefined, { signal: ending });
    yield 'done';
  };
  try {
    for await (const word of underLease(leases, { location: 'eu', kind: 'verify' }, signal, run, LEASE_MS))
      assert.is(word, 'done');
  } catch (error) {
    assert.match(String(error), 'eu is being verified by another call');
  }
  return performance.now() - began;
}

const hangs = () => new Promise<boolean>(() => {});

test('it is renewed as long as the work goes on, and given back', async () => {
  const leases = new Leases(async () => true);
  assert.ok((await work(leases, 4 * LEASE_MS)) >= 4 * LEASE_MS - 1);
  assert.ok(leases.renewals > 4, `${leases.renewals} renewals`);
  const { renewals } = leases;
  await sleep(LEASE_MS);
  assert.is(leases.renewals, renewals, 'none after that');
  assert.is(leases.ended, 1);
});

test('it ends in time though its renewal hangs', async () => {
  const leases = new Leases(hangs);
  assert.ok((await finished(work(leases))) >= LEASE_MS - 1);
  assert.ok(leases.renewals > 0);
  assert.is(leases.ended, 1);
});

test('a renewal that failed is tried again', async () => {
  const leases = new Leases(async nth => {
    if (nth % 2 === 1) throw new Error('the database is away');
    return true;
  });
  assert.ok((await work(leases, 3 * LEASE_MS)) >= 3 * LEASE_MS - 1);
});

test('it runs from when the renewal was asked for, not from when it was answered', async () => {
  let answer = (_renewed: boolean) => {};
  const leases = new Leases(nth =>
    nth === 1
      ? new Promise(resolve => {
          answer = resolve;
        })
      : hangs(),
  );
  const working = work(leases);
  await soon('a second renewal', async () => assert.ok(leases.renewals >= 2));
  answer(true);
  // The first one was asked for a quarter of a lease before the second.
  const soonEnough = sleep((7 / 8) * LEASE_MS).then(() => 'later');
  assert.is(await Promise.race([working.then(() => 'over'), soonEnough]), 'over');
});

test('once it has run out it is not renewed, though the work takes its time to end', async () => {
  const leases = new Leases(hangs);
  let renewals = 0;
  const run = async function* (ending: AbortSignal) {
    await once(ending, 'abort');
    renewals = leases.renewals;
    await sleep(LEASE_MS);
    yield 'done';
  };
  const { signal } = new AbortController();
  for await (const _ of underLease(leases, { location: 'eu', kind: 'adopt' }, signal, run, LEASE_MS));
  assert.is(leases.renewals, renewals);
});

test('one that somebody else has taken ends the work at once', async () => {
  const leases = new Leases(async () => false);
  await finished(work(leases));
  assert.is(leases.renewals, 1);
});

test.run();
