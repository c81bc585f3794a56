/**
 * What stands in the way of copies that are waited for: a wait that cannot end by itself should not be a silent one.
 *
 * It is looked for when the wait begins, and again now and then while nothing gets any further. Each thing is said once.
 */
import { StatusError } from '../../lib/rpc/errors.js';
import type { LocationStatus__Output } from '../../proto/generated/entrepot/admin/v1/LocationStatus.js';
import type { OpenCopies__Output } from '../../proto/generated/entrepot/admin/v1/OpenCopies.js';
import type { Call } from '../admin/command.js';

const AGAIN_MS = 10_000;

export class Obstacles {
  readonly #call: Call;
  readonly #told = new Set<string>();
  #missing = '';
  #nextAt = Number.NEGATIVE_INFINITY;

  constructor(call: Call) {
    this.#call = call;
  }

  /** Hears what is still missing. */
  async lookAt(copies: readonly OpenCopies__Output[]): Promise<void> {
    const open = copies.filter(({ blobs }) => blobs > 0);
    const missing = JSON.stringify(open.map(({ location, blobs }) => [location, blobs]));
    const isFirst = this.#missing === '';
    const goesOn = missing !== this.#missing;
    this.#missing = missing;
    const now = performance.now();
    if (goesOn) this.#nextAt = now + AGAIN_MS;
    const isDue = isFirst || now >= this.#nextAt;
    const { admin, screen } = this.#call;
    // Programs ask ListLocations themselves.
    if (!isDue || open.length === 0 || screen.kind === 'json') return;
    this.#nextAt = now + AGAIN_MS;
    for (const line of await this.#found(admin, new Set(open.map(({ location }) => location)))) {
      if (!this.#told.has(line)) screen.line(line);
      this.#told.add(line);
    }
  }

  async #found(admin: Call['admin'], names: ReadonlySet<string>): Promise<string[]> {
    try {
      const { locations } = await admin.ask(admin.client.listLocations, {});
      return locations.filter(({ name }) => names.has(name)).flatMap(obstaclesOf);
    } catch (error) {
      // What is wrong with the worker is told by the call that waits.
      if (error instanceof StatusError) return [];
      throw error;
    }
  }
}

function obstaclesOf(status: LocationStatus__Output): string[] {
  const { name, paused, writable, notConfigured, workers, lastError } = status;
  return [
    ...(paused ? [`${name}: copying to it is paused; 'entrepot resume ${name}' goes on with it`] : []),
    ...(writable || notConfigured
      ? []
      : [`${name}: it cannot be written to now; 'entrepot config check --live' tells why`]),
    ...(workers.length > 0 ? [] : [`${name}: no worker copies to it; start one`]),
    ...(lastError === '' ? [] : [`${name}: the last copy that failed: ${lastError}`]),
  ];
}
