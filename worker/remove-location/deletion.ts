/** Deleting the records of a location, and after them, if that was asked for, its objects. */
import type { RemoteStore } from '../../lib/locations/store.js';
import type { DeletedPlacements } from '../../lib/metadata/removal.js';
import { parseDigest } from '../../lib/oci/digest.js';
import { fail, isTransient } from '../../lib/rpc/errors.js';
import { goOn, pause } from '../location-lease.js';
import type { RemovalEvent, RemovePhase } from './events.js';
import type { RemoveParts, RemoveRequest } from './remove-location.js';

/** Progress comes so often. */
const TELL_MS = 1_000;
const RETRY_MS = 500;

export class Deletion {
  readonly #parts: RemoveParts;
  readonly #request: RemoveRequest;
  readonly #signal: AbortSignal;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(parts: RemoveParts, request: RemoveRequest, signal: AbortSignal) {
    this.#parts = parts;
    this.#request = request;
    this.#signal = signal;
  }

  /** Goes through all records once. Resolves to how many had to stay. */
  async *run(): AsyncGenerator<RemovalEvent, number> {
    const { removal } = this.#parts;
    const { location, force } = this.#request;
    let kept = 0;
    yield* this.#tell('deleting placements');
    for (let after = '0'; ; ) {
      goOn(this.#signal);
      // What is not recorded any more cannot be asked for again: the store has to be there first.
      const store = this.#request.deleteObjects ? yield* this.#store() : undefined;
      const step = await removal.deletePlacements(location, after, force);
      if (!step.closed) throw givenUp(location);
      for (const placement of step.ids) yield { kind: 'deleted', placement };
      if (store) yield* this.#deleteObjects(store, step);
      kept += step.kept;
      if (step.last === undefined) return kept;
      after = step.last;
      if (performance.now() - this.#toldAt >= TELL_MS) yield* this.#tell('deleting placements', kept);
    }
  }

  /** Nobody refers to them any more. What is left of them if this process dies is only a waste of space. */
  async *#deleteObjects(store: RemoteStore, { digests }: DeletedPlacements): AsyncGenerator<RemovalEvent> {
    const known = digests.map(text => parseDigest(text)).filter(digest => digest !== undefined);
    while (known.length > 0) {
      await this.#demandRemoving();
      try {
        const [failure] = await store.removeBatch(known, this.#signal);
        if (!failure) return;
        throw failure;
      } catch (error) {
        if (!isTransient(error) || this.#signal.aborted) throw error;
        yield* this.#tell('deleting objects', 0, `the store: ${error.message}`);
        await pause(RETRY_MS, this.#signal);
      }
    }
  }

  /**
   * Between a record and its object, the one who reads what is told may have taken long, or this process was stopped: if the
   * removal was given up meanwhile, that object may be on record again.
   */
  async #demandRemoving(): Promise<void> {
    goOn(this.#signal);
    const { location } = this.#request;
    if ((await this.#parts.removal.state(location)) !== 'removing') throw givenUp(location);
  }

  /** The location's store, once it can be written to. Throws STORE_UNREACHABLE if that takes too long. */
  async *#store(): AsyncGenerator<RemovalEvent, RemoteStore> {
    const { locations, patience } = this.#parts;
    const { location } = this.#request;
    const until = performance.now() + patience.stallMs;
    while (true) {
      const found = locations.get(location);
      if (found?.serves('write')) return found.store;
      if (!found || performance.now() > until) {
        throw fail.storeUnreachable(
          `the objects of ${location} cannot be deleted, since ${found ? 'its store cannot be reached' : "it is not in this worker's configuration"}: ` +
            'call again once it can be, or without `delete_objects`',
        );
      }
      yield* this.#tell('deleting objects', 0, 'the store');
      await pause(patience.lookMs, this.#signal);
    }
  }

  async *#tell(phase: RemovePhase, onlyCopies = 0, waitingFor = ''): AsyncGenerator<RemovalEvent> {
    this.#toldAt = performance.now();
    const contents = await this.#parts.removal.contents(this.#request.location);
    yield { kind: 'progress', progress: { phase, onlyCopies, ...contents, waitingFor } };
  }
}

function givenUp(location: string) {
  return fail.busyElsewhere(`the removal of ${location} was given up by another call`);
}
