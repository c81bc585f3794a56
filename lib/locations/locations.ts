/** All locations of the registry, and the order in which this process turns to them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { LocationConfig } from '../config/config.js';
import { Security } from '../rpc/security.js';
import { Location } from './location.js';
import { type Identify, StorageNode } from './node.js';
import { ReadAhead } from './read-ahead.js';
import type { Need } from './store.js';
import { WideStreams } from './wide-streams.js';

export interface LocationsOptions {
  readonly locations: readonly LocationConfig[];
  /** All names, in this process's order of preference; the first is the region's own. */
  readonly preference: readonly string[];
  readonly identify: Identify;
  /** How nodes are reached; plain text on this machine only if absent. */
  readonly security?: Security;
  readonly log: Logger;
}

/** A process that starts while a location is away begins its work after this time all the same. */
export const SETTLE_MS = 2_000;
const LOOK_AGAIN_MS = 20;

export class Locations {
  /** In order of preference. */
  readonly all: readonly Location[];
  /** What the striped reads of this process share. */
  readonly readAhead = new ReadAhead();
  readonly #byName: ReadonlyMap<string, Location>;

  constructor(options: LocationsOptions) {
    const { identify, log, preference, security = Security.local } = options;
    const wide = new WideStreams();
    const rank = (name: string) => preference.indexOf(name);
    this.all = options.locations
      .toSorted((a, b) => rank(a.name) - rank(b.name))
      .map(({ name, nodes }) => {
        const wideStreams = name === preference[0] ? undefined : wide;
        return new Location(
          name,
          nodes.map(address => new StorageNode({ address, location: name, wideStreams, identify, security, log })),
        );
      });
    this.#byName = new Map(this.all.map(location => [location.name, location]));
  }

  /** A location by name; undefined if this process's configuration does not know it. */
  get(name: string): Location | undefined {
    return this.#byName.get(name);
  }

  /** Where to look for a blob that `holders` have: by preference, those that say they can be read first. */
  forReading(holders: readonly string[]): Location[] {
    return usableFirst(
      this.all.filter(location => holders.includes(location.name)),
      'read',
    );
  }

  /** Where to write new bytes: by preference, those that say they can be written to first; of `allowed` only, if given. */
  forWriting(allowed?: readonly string[]): Location[] {
    return usableFirst(
      this.all.filter(location => allowed?.includes(location.name) ?? true),
      'write',
    );
  }

  /**
   * Waits until every location says that it can be used, `ms` milliseconds at the most. Before that, the order of
   * preference means little: whichever location answers first would get what is meant for the first.
   */
  async settle(ms: number, signal?: AbortSignal): Promise<void> {
    const deadline = Date.now() + ms;
    const isKnown = (location: Location) => location.serves('read') && location.serves('write');
    while (!this.all.every(isKnown) && Date.now() < deadline) await sleep(LOOK_AGAIN_MS, undefined, { signal });
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(location => location.close()));
  }
}

function usableFirst(locations: readonly Location[], need: Need): Location[] {
  return [...locations.filter(each => each.serves(need)), ...locations.filter(each => !each.serves(need))];
}
