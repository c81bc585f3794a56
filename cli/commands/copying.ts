/** `entrepot retry`, `pause`, `resume` and `limits`: how copying to a location goes on. */
import { parseDigest } from '../../lib/oci/digest.js';
import { adminCommand, bytesOf, numberOf, operandOf } from '../admin/command.js';
import { textOf, UsageError } from '../command.js';
import { EXIT } from '../exit.js';
import { counted } from '../output/format.js';
import { unknownLocation } from './named.js';
import { limitsText } from './status-lines.js';

export const retry = adminCommand({
  name: 'retry',
  summary: 'Try copies that failed again at once.',
  description: 'Copies that fail are tried again by themselves, after up to five minutes. This does not wait for that.',
  options: {
    location: { type: 'string', short: 'l', placeholder: 'LOCATION', help: 'only copies to this location' },
    digest: { type: 'string', placeholder: 'DIGEST', help: 'only of this blob' },
  },
  exits: { 0: 'they are tried again', 1: 'it failed' },
  check(given) {
    const digest = textOf(given, 'digest');
    if (digest !== undefined && !parseDigest(digest)) throw new UsageError(`--digest is not a digest: ${digest}`);
  },
  async run({ admin, given, screen }) {
    const { copies } = await admin.ask(admin.client.retryReplication, {
      location: textOf(given, 'location') ?? '',
      digest: textOf(given, 'digest') ?? '',
    });
    screen.object('retried', { copies });
    screen.line(
      copies > 0 ? `${counted(copies, 'copy', 'copies')}: tried again now.` : 'No copy waits to be tried again.',
    );
    return EXIT.done;
  },
});

export const pause = adminCommand({
  name: 'pause',
  summary: 'Stop copying to a location, until it is resumed.',
  description: 'What must be copied there stays queued, and pushes there go on. In force within 5 seconds everywhere.',
  operand: 'LOCATION',
  options: {},
  exits: { 0: 'it is paused', 1: 'it failed' },
  async run({ admin, given, screen }) {
    const location = operandOf(given);
    await admin.ask(admin.client.pauseLocation, { location });
    screen.object('paused', { location });
    screen.line(`Copying to ${location} is paused.`);
    return EXIT.done;
  },
});

export const resume = adminCommand({
  name: 'resume',
  summary: 'Go on with copying to a location.',
  description: 'In force within 5 seconds everywhere.',
  operand: 'LOCATION',
  options: {},
  exits: { 0: 'it goes on', 1: 'it failed' },
  async run({ admin, given, screen }) {
    const location = operandOf(given);
    await admin.ask(admin.client.resumeLocation, { location });
    screen.object('resumed', { location });
    screen.line(`Copying to ${location} goes on.`);
    return EXIT.done;
  },
});

export const limits = adminCommand({
  name: 'limits',
  summary: 'Bound what copying to a location may take, or show the bounds.',
  description: [
    'The bounds are those of all workers together, and in force within 5 seconds. What is not given stays as',
    'it is; 0 stands for no limit. Without an option the bounds are shown.',
  ].join('\n'),
  operand: 'LOCATION',
  options: {
    concurrency: { type: 'string', placeholder: 'N', help: 'copies at a time' },
    'bytes-per-second': { type: 'string', placeholder: 'N', help: 'for example 50M' },
  },
  exits: { 0: 'they are set (or shown)', 1: 'it failed' },
  check: given => void wanted(given),
  async run({ admin, given, screen }) {
    const location = operandOf(given);
    const { locations } = await admin.ask(admin.client.listLocations, {});
    const found = locations.find(({ name }) => name === location);
    if (!found) throw unknownLocation(location);
    const { concurrency, bytesPerSecond } = wanted(given);
    const result = {
      concurrency: concurrency ?? found.limits?.concurrency ?? 0,
      bytesPerSecond: bytesPerSecond ?? found.limits?.bytesPerSecond ?? 0,
    };
    if (concurrency !== undefined || bytesPerSecond !== undefined)
      await admin.ask(admin.client.setLimits, { location, limits: result });
    screen.object('limits', { location, ...result });
    screen.line(`Copying to ${location} has the limits: ${limitsText(result)}.`);
    return EXIT.done;
  },
});

function wanted(given: Parameters<typeof numberOf>[0]) {
  return {
    concurrency: numberOf(given, 'concurrency', 0, 1_000_000),
    bytesPerSecond: bytesOf(given, 'bytes-per-second'),
  };
}
