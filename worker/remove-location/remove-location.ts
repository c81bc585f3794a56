/**
 * Removing a location for good: it drains, its records are deleted, and then its name.
 *
 * Everything that must hold is in the statements (functions/17_removal.sql): each looks for itself whether another
 * location has a blob, and in which state the location is. So it can be killed between any two of them, and goes on when
 * it is called again; pushes, copies and changes of where blobs must be may come between any two. When it is refused, the
 * location is in use again, as before.
 */
import type { LocationWork } from '../../lib/metadata/location-work.js';
import type { Obstacles } from '../../lib/metadata/removal.js';
import { fail, hasReason } from '../../lib/rpc/errors.js';
import { goOn, underLease } from '../location-lease.js';
import { Deletion } from './deletion.js';
import { Drain, type DrainParts } from './drain.js';
import type { RemovalEvent } from './events.js';
import { lastCopies, refusalOf } from './refusals.js';

export interface RemoveParts extends DrainParts {
  readonly work: LocationWork;
}

export interface RemoveRequest {
  readonly location: string;
  readonly dryRun: boolean;
  readonly force: boolean;
  readonly deleteObjects: boolean;
  /** Gives up a removal that was begun. */
  readonly giveUp: boolean;
}

/** Removes a location; what happens is told on the way. Throws what the service's contract says. */
export async function* removeLocation(
  parts: RemoveParts,
  request: RemoveRequest,
  signal: AbortSignal,
): AsyncGenerator<RemovalEvent> {
  const { locations, removal, work } = parts;
  const { deleteObjects, location } = request;
  const state = await removal.state(location);
  if (state === undefined) throw fail.locationUnknown(location);
  // The answer to the call that removed it may have been lost.
  if (state === 'removed' && !request.giveUp) return yield { kind: 'removed', location };
  if (state === 'removed') throw fail.refused(`${location} was removed already`);
  if (deleteObjects && !locations.get(location)) {
    throw fail.refused(`${location} is not in this worker's configuration: ask one that has it, or leave its objects`);
  }
  const removing = (ending: AbortSignal) => new LocationRemoval(parts, request, ending);
  if (request.dryRun) return yield* removing(signal).tell();
  yield* underLease(work, { location, kind: 'remove' }, signal, ending => removing(ending).run());
}

class LocationRemoval {
  readonly #parts: RemoveParts;
  readonly #request: RemoveRequest;
  readonly #drain: Drain;
  readonly #signal: AbortSignal;

  constructor(parts: RemoveParts, request: RemoveRequest, signal: AbortSignal) {
    this.#parts = parts;
    this.#request = request;
    this.#signal = signal;
    this.#drain = new Drain(parts, request.location, signal);
  }

  async *run(): AsyncGenerator<RemovalEvent> {
    if (this.#request.giveUp) return await this.#giveUp();
    try {
      yield* this.#remove();
    } catch (error) {
      if (hasReason(error, 'REFUSED', 'REPLICATION_OFF')) await this.#giveUp();
      throw error;
    }
  }

  /** Says what would be done, and what stands in the way. */
  async *tell(): AsyncGenerator<RemovalEvent> {
    const { removal, locations, replicate } = this.#parts;
    const { location, force } = this.#request;
    const refusal = refusalOf(location, await removal.obstacles(location, force));
    const found = await this.#drain.find(false);
    const contents = await removal.contents(location);
    yield { kind: 'progress', progress: { phase: 'draining', onlyCopies: found.count, ...contents, waitingFor: '' } };
    const known = locations.get(location) !== undefined || (await removal.isKnownToWorkers(location));
    if (force || !known) yield* this.#broken();
    if (refusal) throw refusal;
    if (found.count > 0 && !force) {
      if (!replicate) throw fail.replicationOff();
      if (!known)
        throw lastCopies(location, found.count, await removal.stuck(location, found.blobs.slice(0, 5)), known);
    }
    yield { kind: 'removed', location };
  }

  async *#remove(): AsyncGenerator<RemovalEvent> {
    const { removal } = this.#parts;
    const { force, location } = this.#request;
    const deletion = new Deletion(this.#parts, this.#request, this.#signal);
    this.#demand(await removal.advance(location, 'draining', force));
    while (true) {
      yield* this.#drain.run(force);
      if (force) yield* this.#broken();
      this.#demand(await removal.advance(location, 'removing', force));
      await this.#drain.endAllUploads();
      const kept = yield* deletion.run();
      const { outcome, obstacles } =
        kept > 0 ? { outcome: 'not empty', obstacles: undefined } : await removal.finish(location);
      if (outcome === 'deleted') break;
      if (outcome === 'in use') throw fail.busyElsewhere(`the removal of ${location} was given up by another call`);
      this.#demand(obstacles && outcome === 'obstacles' ? obstacles : undefined);
      // Something has come, or has lost its other copy, at the last moment.
      this.#demand(await removal.advance(location, 'draining', force));
    }
    yield { kind: 'progress', progress: { phase: 'done', onlyCopies: 0, uploads: 0, placements: 0, waitingFor: '' } };
    yield { kind: 'removed', location };
  }

  #demand(obstacles: Obstacles | undefined): void {
    const refusal = obstacles && refusalOf(this.#request.location, obstacles);
    if (refusal) throw refusal;
  }

  /** The images that lose a blob when all that is only there goes. */
  async *#broken(): AsyncGenerator<RemovalEvent> {
    const { removal } = this.#parts;
    const { location } = this.#request;
    for (let after = '0'; ; ) {
      goOn(this.#signal);
      const page = await removal.lookForOnlyCopies(location, after);
      const lost = page.blobs.length > 0 ? await removal.nowhereElse(location, page.blobs) : [];
      if (lost.length > 0) for await (const image of removal.imagesWith(lost)) yield { kind: 'broken', image };
      if (page.last === undefined) return;
      after = page.last;
    }
  }

  async #giveUp(): Promise<void> {
    const { removal, replicate, onQueued, log } = this.#parts;
    const { location } = this.#request;
    if (!(await removal.giveUp(location, replicate))) return;
    log.warn({ location }, 'the removal of a location was given up: it is in use again');
    onQueued();
  }
}
