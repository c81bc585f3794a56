/** `entrepot events`: which image has arrived where. */
import type { WatchEventsRequest } from '../../proto/generated/entrepot/admin/v1/WatchEventsRequest.js';
import { adminCommand, numberOf } from '../admin/command.js';
import { textOf, UsageError } from '../command.js';
import { EXIT, Failure } from '../exit.js';
import { duration, moment } from '../output/format.js';

export const events = adminCommand({
  name: 'events',
  summary: 'Show which image has arrived where, from a given event on, and then those that come.',
  description: [
    'One line for each image that has arrived in a location, verified: the id of the event, when that was, the',
    'image, the location, and how long it took since the push. Ends only with Ctrl-C. Events are kept for 30',
    'days. A program that remembers the last id goes on with --after.',
  ].join('\n'),
  options: {
    after: { type: 'string', placeholder: 'ID', help: 'only events after this one' },
    new: { type: 'boolean', help: 'only events that come from now on' },
    repository: { type: 'string', short: 'r', placeholder: 'REPOSITORY', help: 'only of this repository' },
    location: { type: 'string', short: 'l', placeholder: 'LOCATION', help: 'only of this location' },
  },
  exits: { 0: 'never (it ends with Ctrl-C only)', 1: 'it failed' },
  check(given) {
    if (numberOf(given, 'after', 0, Number.MAX_SAFE_INTEGER) !== undefined && given.new === true)
      throw new UsageError('--after and --new exclude each other: give one of them');
  },
  async run({ admin, given, screen }) {
    const request: WatchEventsRequest = {
      afterId: numberOf(given, 'after', 0, Number.MAX_SAFE_INTEGER) ?? 0,
      onlyNew: given.new === true,
      repository: textOf(given, 'repository') ?? '',
      location: textOf(given, 'location') ?? '',
    };
    const stream = admin.follow(admin.client.watchEvents, request, last =>
      last ? { ...request, onlyNew: false, afterId: last.id } : request,
    );
    for await (const event of stream) {
      const { id, repository, tag, digest, location, pushedAt, completedAt } = event;
      screen.object('arrived', event);
      const took = duration(Math.max(0, completedAt - pushedAt));
      const name = `${repository}${tag ? `:${tag}` : ''}@${digest}`;
      screen.line(`${id}  ${moment(completedAt)}  ${name}  ${location}  after ${took}`);
    }
    throw new Failure(
      EXIT.unreachable,
      'the worker ended the call: run the command again, with --after and the last id',
    );
  },
});
