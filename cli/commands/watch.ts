/** `entrepot watch`: waits until everything is copied. */
import type { OpenCopies__Output } from '../../proto/generated/entrepot/admin/v1/OpenCopies.js';
import type { WatchReplicationRequest } from '../../proto/generated/entrepot/admin/v1/WatchReplicationRequest.js';
import type { WatchReplicationResponse__Output } from '../../proto/generated/entrepot/admin/v1/WatchReplicationResponse.js';
import { adminCommand } from '../admin/command.js';
import { textOf } from '../command.js';
import { EXIT, Failure } from '../exit.js';
import { count, counted, duration } from '../output/format.js';
import type { Screen } from '../output/screen.js';
import { Obstacles } from './obstacles.js';

export const watch = adminCommand({
  name: 'watch',
  summary: 'Wait until everything is in sync, and say so.',
  description: [
    'Waits for every copy that was required when the command was called, and only for those: it ends though',
    'pushes go on. With --empty it waits for a moment at which no required copy is missing at all. What',
    'stands in the way (a location that is paused, or away) is said.',
  ].join('\n'),
  options: {
    empty: { type: 'boolean', help: 'wait until nothing at all is missing' },
    location: { type: 'string', short: 'l', placeholder: 'LOCATION', help: 'only this location' },
  },
  exits: { 0: 'all that was waited for is there, verified', 1: 'it failed' },
  async run(call) {
    const { admin, given, screen } = call;
    const location = textOf(given, 'location') ?? '';
    const bars = new Bars(screen);
    const obstacles = new Obstacles(call);
    const request: WatchReplicationRequest = {
      goal: given.empty === true ? 'WATCH_GOAL_EMPTY' : 'WATCH_GOAL_SNAPSHOT',
      location,
      intervalMs: screen.kind === 'terminal' ? 250 : 1_000,
    };
    const answers = admin.follow(admin.client.watchReplication, request, last => ({
      ...request,
      upTo: last?.upTo ?? 0,
    }));
    let inSync = false;
    for await (const answer of answers) {
      screen.object('progress', answer);
      inSync = answer.inSync;
      bars.show(answer);
      if (!inSync) await obstacles.lookAt(answer.locations);
    }
    screen.clear();
    if (!inSync) throw new Failure(EXIT.failed, 'the worker ended the call without saying that all is in sync');
    const where = location ? ` to ${location}` : '';
    screen.line(
      given.empty === true
        ? `In sync: no required copy${where} is missing.`
        : `In sync: every copy${where} that was required at the call is there.`,
    );
    return EXIT.done;
  },
});

class Bars {
  readonly #screen: Screen;
  /** What was missing at most: the whole of each bar. */
  readonly #most = new Map<string, number>();

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  show({ locations, openChanges, inSync }: WatchReplicationResponse__Output): void {
    const bars = locations.map(copies => this.#bar(copies));
    if (inSync) return;
    const missing = locations.reduce((sum, { blobs }) => sum + blobs, 0);
    const where = locations
      .filter(({ blobs }) => blobs > 0)
      .map(({ location, blobs }) => `${location} ${count(blobs)}`);
    const changes = openChanges > 0 ? `, ${counted(openChanges, 'change')} still being queued` : '';
    const parts = where.length > 0 ? ` (${where.join(', ')})` : '';
    const text = `waiting for ${counted(missing, 'copy', 'copies')}${parts}${changes}`;
    this.#screen.progress(text, bars);
  }

  #bar({ location, blobs, oldestMissingMs }: OpenCopies__Output) {
    const total = Math.max(blobs, this.#most.get(location) ?? 0);
    this.#most.set(location, total);
    const text =
      blobs > 0 ? `${counted(blobs, 'copy', 'copies')} missing, oldest ${duration(oldestMissingMs)}` : 'in sync';
    return { label: location, done: total - blobs, total, text };
  }
}
